-- One hot request over and over. The body comes in through BENCH_BODY, the path through BENCH_PATH.
wrk.method = "POST"
wrk.path = os.getenv("BENCH_PATH")
wrk.headers["Authorization"] = "cmk " .. os.getenv("BENCH_API_KEY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["x-icl-tsc-language"] = "node"
wrk.headers["x-icl-tsc-version"] = "4.1.3"
local file = assert(io.open(os.getenv("BENCH_BODY"), "rb"))
wrk.body = file:read("*a")
file:close()

done = function(summary, latency, requests)
  io.write(string.format(
    "RESULT %d %d %d %d %f %f %f\n",
    summary.requests, summary.duration, summary.errors.status, summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50), latency:percentile(90), latency:percentile(99)))
end
