-- wrk script: one multipart upload a request, field `image`, taking the pictures of a file in turn.
-- BENCH_PICTURES names the file.
-- BENCH_PARTS (1 unless set) pictures go into one request; BENCH_TOKEN is TorchServe's, for asking it directly.
local form = dofile(debug.getinfo(1, "S").source:match("^@(.*/)") .. "form.lua")

requests = {}
local turn = 0

function init()
  local all, parts = form.pictures(os.getenv("BENCH_PICTURES")), tonumber(os.getenv("BENCH_PARTS") or "1")
  local headers = { ["Content-Type"] = "multipart/form-data; boundary=" .. form.BOUNDARY }
  local token = os.getenv("BENCH_TOKEN")
  if token then headers["Authorization"] = "Bearer " .. token end
  for first = 1, #all, parts do
    requests[#requests + 1] = wrk.format("POST", nil, headers, form.body(all, first, parts))
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
