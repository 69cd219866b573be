-- wrk script: the uploads of upload.lua leave at a fixed rate, whether or not earlier ones are answered.
-- A connection that is free takes the next upload and holds it until it is due; one for which no connection is free
-- then never leaves. Latency counts from when it was due, so no one is flattered. An upload's X-Request-Id is its
-- number, by which its answer is known. BENCH_RATE: uploads a second; BENCH_TOTAL: of them; BENCH_LABELS: their digits;
-- BENCH_OPENING: seconds for all connections to be there, before the first upload is due.
dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "upload.lua")

local ffi = require("ffi")
ffi.cdef [[
  struct time { long seconds, nanoseconds; };
  int clock_gettime(int clock, struct time *time);
]]
local time = ffi.new("struct time")
local MONOTONIC, IN_TIME, NEVER = 1, 1.0, 3600 * 1000

local function now()
  ffi.C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

local rate, total = tonumber(os.getenv("BENCH_RATE")), tonumber(os.getenv("BENCH_TOTAL"))
local labels, opening = os.getenv("BENCH_LABELS"), tonumber(os.getenv("BENCH_OPENING"))
local begun, taken, due, thread = nil, 0, {}, nil
local form = init
sent, outcomes, latencies = 0, {}, {} -- of each answer, the latter in seconds; tables of tables cannot leave a thread

function setup(only) thread = only end

function init()
  form()
  for i, request in ipairs(requests) do
    local line, rest = request:match("^(.-\r\n)(.*)$")
    requests[i] = { line .. "X-Request-Id: ", "\r\n" .. rest }
  end
end

function delay() -- ms until the connection's next upload is due
  begun = begun or now() + opening
  local seconds = now() - begun
  taken = math.max(taken + 1, math.ceil(seconds * rate)) -- those that were due meanwhile are passed over
  if taken > total then return NEVER end
  due[#due + 1] = taken
  return math.max(0, math.floor((taken / rate - seconds) * 1000 + 0.5))
end

function request()
  if begun then sent = sent + 1 end -- before, wrk only asks to look at one
  local number = due[sent] or 1
  local parts = requests[(number - 1) % #requests + 1]
  return parts[1] .. number .. parts[2]
end

local function outcome(number, status, body, seconds)
  if status ~= 200 then return status == 503 and "refused" or "status " .. status end
  local label = body:match('"prediction": ?{"class_name": ?"%a+", ?"label": ?(%d)')
  local turn = (number - 1) % #requests + 1
  if label ~= labels:sub(turn, turn) then return "wrong" end
  return seconds <= IN_TIME and "good" or "late"
end

function response(status, headers, body)
  local number = tonumber(headers["x-request-id"]) or due[sent]
  local seconds = now() - begun - number / rate
  outcomes[#outcomes + 1] = outcome(number, status, body, seconds)
  latencies[#latencies + 1] = seconds
end

function done()
  print(("sent %d"):format(thread:get("sent")))
  local all, found = thread:get("latencies"), {}
  for i, name in ipairs(thread:get("outcomes")) do
    found[name] = found[name] or {}
    table.insert(found[name], all[i])
  end
  for name, seconds in pairs(found) do
    table.sort(seconds)
    local function percentile(share) return seconds[math.floor((#seconds - 1) * share) + 1] * 1000 end
    print(("answers %d p50 %.1f p99 %.1f: %s"):format(#seconds, percentile(0.5), percentile(0.99), name))
  end
end
