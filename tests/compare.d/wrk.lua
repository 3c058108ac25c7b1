-- Prints what the script that measures wants to know, as one line of JSON.
function done(summary, latency)
  local e = summary.errors
  print(string.format(
    '{"requests":%d,"errors":%d,"bytes":%d,"seconds":%.3f,"latency_p50_us":%.1f,"events":0}',
    summary.requests, e.connect + e.read + e.write + e.status + e.timeout, summary.bytes,
    summary.duration / 1e6, latency:percentile(50)))
end
