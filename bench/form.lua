-- What both generators upload: the pictures of a file (pictures.py) as multipart forms, field `image`.
local form = { BOUNDARY = "a-boundary-of-the-benchmark" }

-- The pictures of a file: before each, its length, four bytes, big-endian.
function form.pictures(path)
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

-- A body of `parts` pictures from the `first` on.
function form.body(all, first, parts)
  local pieces = {}
  for i = first, first + parts - 1 do
    pieces[#pieces + 1] = "--" .. form.BOUNDARY
      .. "\r\nContent-Disposition: form-data; name=\"image\"; filename=\"digit.png\"\r\n"
      .. "Content-Type: application/octet-stream\r\n\r\n" .. all[(i - 1) % #all + 1] .. "\r\n"
  end
  return table.concat(pieces) .. "--" .. form.BOUNDARY .. "--\r\n"
end

return form
