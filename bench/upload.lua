-- wrk script: one multipart upload a request, field `image`, taking the pictures of a file in turn.
-- BENCH_PICTURES names the file: for each picture four bytes of big-endian length, then its bytes.
-- BENCH_PARTS (1 unless set) pictures go into one request; BENCH_TOKEN is TorchServe's, for asking it directly.
local BOUNDARY = "a-boundary-of-the-benchmark"

local function pictures(path)
  local file = assert(io.open(path, "rb"))
  local found = {}
  while true do
    local head = file:read(4)
    if not head then break end
    local a, b, c, d = head:byte(1, 4)
    found[#found + 1] = file:read(((a * 256 + b) * 256 + c) * 256 + d)
  end
  file:close()
  return found
end

local function body(all, first, parts)
  local pieces = {}
  for i = first, first + parts - 1 do
    pieces[#pieces + 1] = "--" .. BOUNDARY .. "\r\nContent-Disposition: form-data; name=\"image\"; filename=\"digit.png\"\r\n"
      .. "Content-Type: application/octet-stream\r\n\r\n" .. all[(i - 1) % #all + 1] .. "\r\n"
  end
  return table.concat(pieces) .. "--" .. BOUNDARY .. "--\r\n"
end

requests = {}
local turn = 0

function init()
  local all, parts = pictures(os.getenv("BENCH_PICTURES")), tonumber(os.getenv("BENCH_PARTS") or "1")
  local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. BOUNDARY }
  local token = os.getenv("BENCH_TOKEN")
  if token then headers["Authorization"] = "Bearer " .. token end
  for first = 1, #all, parts do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body(all, first, parts))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
