// Reads a trace as the performance panel of Chrome does, and prints its threads as JSON:
// node read_trace.mjs NODE_MODULES/@paulirish/trace_engine TRACE
import fs from 'node:fs';
import path from 'node:path';
import {pathToFileURL} from 'node:url';

// The reader is made for a browser, which has these.
globalThis.window ??= globalThis;
globalThis.DOMRect ??= class {
  constructor(x = 0, y = 0, width = 0, height = 0) {
    Object.assign(this, {x, y, width, height});
  }
};

const [engine, file] = process.argv.slice(2);
const Trace = await import(pathToFileURL(path.join(engine, 'models/trace/trace.js')));
const reader = Trace.Processor.TraceProcessor.createWithAllHandlers();
await reader.parse(JSON.parse(fs.readFileSync(file)).traceEvents, {});
const threads = Trace.Handlers.Threads.threadsInTrace(reader.data).map((thread) => ({
  name: thread.name,
  spans: thread.entries.map(({name, ts, dur, args}) => ({name, ts, dur, step: args.step})),
}));
const {min, max} = reader.data.Meta.traceBounds;
console.log(JSON.stringify({threads, start: min, end: max}));
