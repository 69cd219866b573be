-- Open-loop generator for Linux and IPv4: `luajit open_loop.lua`, told by open_loop.py in the environment.
-- Uploads leave at a fixed rate, whether or not earlier ones are answered; one for which no connection is free when it
-- is due never leaves. Latency counts from when it was due, so no one is flattered. wrk can be scripted to do this, but
-- then walks the list of all connections' timers at each turn and changes epoll four times a request: 20 to 25 us of
-- CPU for each where this takes 10, and the service loses what the generator takes from the cores they share.
-- BENCH_URL; BENCH_PICTURES: their file (pictures.py); BENCH_LABELS: their digits; BENCH_RATE: uploads a second;
-- BENCH_TOTAL: of them; BENCH_CONNECTIONS; BENCH_AFTER: seconds that the last answers are waited for.
local ffi = require("ffi")
local C = ffi.C
local packed = ffi.arch == "x64" and "__attribute__((packed))" or "" -- as epoll_event is there
ffi.cdef([[
  typedef struct { long seconds, nanoseconds; } time_t_;
  int clock_gettime(int clock, time_t_ *time);
  int clock_nanosleep(int clock, int flags, const time_t_ *until, time_t_ *left);
  int socket(int domain, int type, int protocol);
  int connect(int fd, const void *address, unsigned length);
  int setsockopt(int fd, int level, int option, const void *value, unsigned length);
  ssize_t send(int fd, const char *data, size_t length, int flags);
  ssize_t recv(int fd, char *data, size_t length, int flags);
  int close(int fd);
  int epoll_create1(int flags);
  typedef struct ]] .. packed .. [[ { uint32_t events; int32_t number, unused; } event;
  int epoll_ctl(int epoll, int operation, int fd, event *event);
  int epoll_wait(int epoll, event *events, int most, int milliseconds);
  typedef struct { uint16_t family, port; uint32_t address; char zero[8]; } address;
  uint16_t htons(uint16_t);
  int inet_pton(int, const char *, void *);
]])
local MONOTONIC, ABSOLUTE, TCP, NODELAY, IN, DONTWAIT, NOSIGNAL, AGAIN = 1, 1, 6, 1, 1, 64, 0x4000, 11
local IN_TIME, TICK = 1.0, 0.001 -- seconds: an answer is late after; between two looks at what is due and what came

local function env(name) return (assert(os.getenv("BENCH_" .. name), name)) end
local rate, total, connections = tonumber(env("RATE")), tonumber(env("TOTAL")), tonumber(env("CONNECTIONS"))
local after, labels = tonumber(env("AFTER")), env("LABELS")
local host, port, path = env("URL"):match("^http://([%d.]+):(%d+)(/.*)$")

local time = ffi.new("time_t_")
local function now()
  C.clock_gettime(MONOTONIC, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) * 1e-9
end

-- each request in two halves, its X-Request-Id between them
local heads, tails = {}, {}
local form = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "form.lua")
local all = form.pictures(env("PICTURES"))
for i = 1, #all do
  local body = form.body(all, i, 1)
  heads[i] = "POST " .. path .. " HTTP/1.1\r\nHost: " .. host .. ":" .. port .. "\r\nX-Request-Id: "
  tails[i] = "\r\nContent-Type: multipart/form-data; boundary=" .. form.BOUNDARY
    .. "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body
end

local address = ffi.new("address", { family = 2, port = C.htons(tonumber(port)) })
local where = ffi.new("uint32_t[1]")
C.inet_pton(2, host, where)
address.address = where[0]
local epoll, one = C.epoll_create1(0), ffi.new("int[1]", 1)
local fds, upload = ffi.new("int[?]", connections), ffi.new("int[?]", connections) -- upload: 0 if free
local free, count = ffi.new("int[?]", connections), 0 -- a stack, as clients' pools are: the last freed goes first
local partial = {}
for i = 0, connections - 1 do
  local fd = C.socket(2, 1, 0)
  if fd < 0 or C.connect(fd, address, ffi.sizeof(address)) ~= 0 then error("cannot connect, errno " .. ffi.errno()) end
  C.setsockopt(fd, TCP, NODELAY, one, 4)
  C.epoll_ctl(epoll, 1, fd, ffi.new("event", { events = IN, number = i }))
  fds[i], free[i], count = fd, i, count + 1
end

local outcome, latency = ffi.new("uint8_t[?]", total + 1), ffi.new("double[?]", total + 1)
local names = { [0] = "unanswered", "good", "late", "wrong", "refused", "broken" }
local others = {} -- status -> its number in names
local sent, busy = 0, 0
local due = ffi.new("double[?]", total + 1)

local function judge(number, text, body, seconds)
  if text:byte(10) == 50 then -- 2..
    local _, at = text:find('"prediction": {"class_name": "', body, true)
    local _, label = text:find('"label": ', at or body, true)
    if not label or not at or text:byte(label + 1) ~= labels:byte((number - 1) % #heads + 1) then return 3 end
    return seconds <= IN_TIME and 1 or 2
  end
  local status = text:sub(10, 12)
  if status == "503" then return 4 end
  if not others[status] then
    names[#names + 1] = "status " .. status
    others[status] = #names
  end
  return others[status]
end

local SIZE = 65536
local buffer = ffi.new("char[?]", SIZE)
local function drop(i)
  if upload[i] ~= 0 then outcome[upload[i]] = 5; busy = busy - 1 end
  C.close(fds[i])
  fds[i], upload[i], partial[i] = -1, -1, nil
end

local function receive(i, at)
  local n = tonumber(C.recv(fds[i], buffer, SIZE, DONTWAIT))
  if n <= 0 then
    if n < 0 and ffi.errno() == AGAIN then return end
    return drop(i)
  end
  local text = ffi.string(buffer, n)
  if partial[i] then text = partial[i] .. text end
  local _, body = text:find("\r\n\r\n", 1, true)
  local _, length = text:find("content-length: ", 1, true)
  if not body or not length or #text < body + tonumber(text:sub(length + 1, text:find("\r", length, true) - 1)) then
    partial[i] = text
    return
  end
  partial[i] = nil
  local number = upload[i]
  local seconds = at - due[number]
  outcome[number], latency[number] = judge(number, text, body, seconds), seconds
  upload[i], busy = 0, busy - 1
  free[count], count = i, count + 1
end

local MOST = 1024
local events = ffi.new("event[?]", MOST)
local SETTLE = 0.5 -- seconds for the service to take the connections, which is not what is measured
local begun, number = now() + SETTLE, 0
local wake = ffi.new("time_t_")
local finish = begun + total / rate + after
local ticked = begun
while true do
  local at = now()
  while number < total and begun + (number + 1) / rate <= at do
    number = number + 1
    local i = -1
    while count > 0 and i < 0 do
      count = count - 1
      i = free[count]
      if fds[i] < 0 then i = -1 end
    end
    if i >= 0 then
      local turn = (number - 1) % #heads + 1
      local data = heads[turn] .. number .. tails[turn]
      due[number], upload[i], busy = begun + number / rate, number, busy + 1
      sent = sent + 1
      if tonumber(C.send(fds[i], data, #data, NOSIGNAL)) ~= #data then drop(i) end
    end
  end
  if at > finish or number == total and busy == 0 then break end
  local found
  repeat
    found = C.epoll_wait(epoll, events, MOST, 0)
    local seen = found > 0 and now()
    for k = 0, found - 1 do receive(events[k].number, seen) end
  until found < MOST
  ticked = math.max(ticked + TICK, now())
  wake.seconds = math.floor(ticked)
  wake.nanoseconds = (ticked - math.floor(ticked)) * 1e9
  C.clock_nanosleep(MONOTONIC, ABSOLUTE, wake, nil)
end

print(("sent %d"):format(sent))
local found = {}
for n = 1, total do
  local name = outcome[n] ~= 0 and names[outcome[n]]
  if name then
    found[name] = found[name] or {}
    table.insert(found[name], latency[n])
  end
end
for name, seconds in pairs(found) do
  table.sort(seconds)
  local function percentile(share) return seconds[math.floor((#seconds - 1) * share) + 1] * 1000 end
  print(("answers %d p50 %.1f p99 %.1f: %s"):format(#seconds, percentile(0.5), percentile(0.99), name))
end
