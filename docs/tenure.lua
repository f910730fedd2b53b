-- Wireshark dissector for Tenure's frames, version 1: the header's fields, and the body by Wireshark's own CBOR dissector.
--
--   wireshark -X lua_script:docs/tenure.lua          tshark -X lua_script:docs/tenure.lua -r capture.pcap
--
-- The port is a preference of the protocol (Edit > Preferences > Protocols > TENURE, or -o tenure.port:7420). The
-- meaning of the bodies' keys stands in docs/src/protocol/tenure.cddl. Kept in step with impl/wire/src/header.rs by
-- impl/wire/tests/dissector.rs.

local HEADER_BYTES = 16
local FRAME_BYTES_MAX = 64 * 1024 * 1024 -- beyond it the stream is not ours, or we began in the middle

local kinds = {
    [0x00] = "Fault",
    [0x01] = "Hello",
    [0x02] = "KeepAlive",
    [0x03] = "Acquire",
    [0x04] = "Cancel",
    [0x05] = "Commit",
    [0x06] = "Release",
    [0x07] = "Busy",
    [0x08] = "Destroy",
    [0x09] = "Rename",
    [0x0a] = "Goodbye",
    [0x41] = "Welcome",
    [0x42] = "Alive",
    [0x43] = "Granted",
    [0x44] = "Queued",
    [0x45] = "Recall",
    [0x46] = "Committed",
    [0x47] = "Released",
    [0x48] = "Revoked",
    [0x49] = "Refused",
    [0x4a] = "NotRenamed",
    [0x4b] = "Gone",
    [0x4c] = "LeaseEnded",
    [0x4d] = "Superseded",
    [0x4e] = "Full",
}

local tenure = Proto("tenure", "Tenure")
tenure.prefs.port = Pref.uint("TCP port", 7420, "The store's port")

local fields = {
    length = ProtoField.uint32("tenure.length", "Length of the body"),
    major = ProtoField.uint8("tenure.version.major", "Major version", base.DEC, nil, 0xf0),
    minor = ProtoField.uint8("tenure.version.minor", "Minor version", base.DEC, nil, 0x0f),
    kind = ProtoField.uint8("tenure.kind", "Kind", base.HEX, kinds),
    flags = ProtoField.uint16("tenure.flags", "Flags", base.HEX),
    critical = ProtoField.bool("tenure.flags.critical", "Critical", 16, nil, 0x0001),
    more = ProtoField.bool("tenure.flags.more", "More", 16, nil, 0x0002),
    request = ProtoField.uint64("tenure.request", "Request"),
    body = ProtoField.bytes("tenure.body", "Body"),
}
for _, field in pairs(fields) do
    table.insert(tenure.fields, field)
end

local odd = ProtoExpert.new("tenure.odd", "Not a frame of major version 1", expert.group.PROTOCOL, expert.severity.WARN)
tenure.experts = { odd }

local cbor = Dissector.get("cbor")

local function frame_bytes(buffer, _, offset)
    local length = buffer(offset, 4):uint()
    if buffer(offset + 4, 1):bitfield(0, 4) ~= 1 or length > FRAME_BYTES_MAX then
        return buffer:len() - offset
    end
    return HEADER_BYTES + length
end

local function dissect_frame(buffer, packet, tree)
    local kind = buffer(5, 1):uint()
    local ours = buffer(4, 1):bitfield(0, 4) == 1 and buffer(0, 4):uint() <= FRAME_BYTES_MAX
    local name = not ours and "no frame" or kinds[kind] or string.format("kind 0x%02x", kind)
    local length = buffer:len() - HEADER_BYTES

    packet.cols.protocol = "TENURE"
    local branch = tree:add(tenure, buffer(), "Tenure, " .. name)
    branch:add(fields.length, buffer(0, 4))
    branch:add(fields.major, buffer(4, 1))
    branch:add(fields.minor, buffer(4, 1))
    branch:add(fields.kind, buffer(5, 1))
    if not ours then
        branch:add_proto_expert_info(odd)
        packet.cols.info:append(name .. "  ")
        return buffer:len()
    end
    local flags = branch:add(fields.flags, buffer(6, 2))
    flags:add(fields.critical, buffer(6, 2))
    flags:add(fields.more, buffer(6, 2))
    branch:add(fields.request, buffer(8, 8))

    if length > 0 then
        local body = buffer(HEADER_BYTES, length)
        local bytes = branch:add(fields.body, body)
        if kinds[kind] then
            pcall(cbor.call, cbor, body:tvb(), packet, bytes)
            -- The built-in dissector names its own protocol.
            packet.cols.protocol = "TENURE"
        end
    end

    local request = buffer(8, 8):uint64()
    local about = request == UInt64(0) and "" or " request " .. tostring(request)
    local more = buffer(6, 2):bitfield(14, 1) == 1 and " ..." or ""
    packet.cols.info:append(name .. about .. more .. "  ")
    return buffer:len()
end

function tenure.dissector(buffer, packet, tree)
    packet.cols.info:clear()
    dissect_tcp_pdus(buffer, tree, HEADER_BYTES, frame_bytes, dissect_frame)
    return buffer:len()
end

local tcp = DissectorTable.get("tcp.port")
local port = nil

local function listen()
    if port then
        tcp:remove(port, tenure)
    end
    port = tenure.prefs.port
    tcp:add(port, tenure)
end

tenure.prefs_changed = listen
listen()
