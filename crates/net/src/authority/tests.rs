use super::*;

const TYPE_DATA: u8 = 0;
const END_HEADERS: u8 = 0x04;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let mut out = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    out.extend_from_slice(payload);
    out
}

fn stream(frames: &[Vec<u8>]) -> Vec<u8> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [&[preface], frames].concat().concat()
}

/// `bytes` after the filter, fed in pieces of every size: the same each time.
fn passed(bytes: &[u8]) -> Vec<u8> {
    let whole = in_pieces(bytes, bytes.len());
    for size in 1..bytes.len() {
        assert_eq!(in_pieces(bytes, size), whole, "pieces of {size} bytes");
    }
    whole
}

fn in_pieces(bytes: &[u8], size: usize) -> Vec<u8> {
    let (mut frames, mut out) = (Frames::new(Rc::default()), bytes.to_vec());
    out.chunks_mut(size).for_each(|piece| frames.pass(piece));
    out
}

/// POST, http, `:path: /a` by name index, `:authority` as given, an own header, then an indexed
/// field and a table size update.
fn block_with(authority: &[u8]) -> Vec<u8> {
    let long_name_index = [0x0f, 0x80, 0x01, 0x01, b'v'];
    let own = [&[0x40, 1, b'n', 2][..], b"\x41\x01"].concat();
    [&[0x83, 0x86, 0x44, 2][..], b"/a", authority, &own, &long_name_index, &[0xbe, 0x3f, 0x01]]
        .concat()
}

/// When this fails, `h2` may take them by now, and the walk may not be needed any more.
#[test]
fn the_library_still_refuses_what_clients_call_the_server() {
    let names =
        ["http://127.0.0.1:2379", "#initially=[127.0.0.1:2379]", "/run/etcd.sock", "a:1%2Cb:2"];
    for name in names {
        assert!(name.parse::<http::uri::Authority>().is_err(), "{name}");
    }
}

#[test]
fn an_authority_is_overwritten_and_nothing_else_changes() {
    let (plain, huffman) = (b"\x41\x05h://x", b"\x41\x85h://x");
    let blanked = b"\x41\x05qqqqq";
    let data = frame(TYPE_DATA, 1, b"\x41\x05h://x");
    for authority in [plain, huffman] {
        let before = frame(TYPE_HEADERS, END_HEADERS, &block_with(authority));
        let after = frame(TYPE_HEADERS, END_HEADERS, &block_with(blanked));
        let got = passed(&stream(&[before.clone(), data.clone(), before.clone()]));
        assert_eq!(got, stream(&[after.clone(), data.clone(), after]));
    }
}

#[test]
fn literals_that_are_not_indexed_and_long_ones_are_found_too() {
    for first in [0x01, 0x11, 0x41] {
        let long = [&[first, 0x7f, 0x81, 0x01][..], &[b'/'; 0x7f + 0x81]].concat();
        let blank = [&[first, 0x7f, 0x81, 0x01][..], &[FILLER; 0x7f + 0x81]].concat();
        let before = frame(TYPE_HEADERS, END_HEADERS, &block_with(&long));
        let after = frame(TYPE_HEADERS, END_HEADERS, &block_with(&blank));
        assert_eq!(in_pieces(&stream(&[before]), 7), stream(&[after]));
    }
}

#[test]
fn a_name_that_is_spelled_out_is_known_too_and_no_other_is() {
    let named = |name: &[u8], coded: u8, value: &[u8]| {
        let length = u8::try_from(name.len()).expect("short") | coded;
        block_with(&[&[0x40, length][..], name, value].concat())
    };
    let sent = |block: &[u8]| stream(&[frame(TYPE_HEADERS, END_HEADERS, block)]);
    for (name, coded) in [(&b":authority"[..], 0), (NAME_CODED, 0x80)] {
        let before = named(name, coded, b"\x87a%2Cb;c");
        let after = named(name, coded, b"\x07qqqqqqq");
        assert_eq!(passed(&sent(&before)), sent(&after));
    }
    for (name, coded) in
        [(&b":authoritx"[..], 0), (b":authorit", 0), (b":authoritys", 0), (b":authority", 0x80)]
    {
        let other = sent(&named(name, coded, b"\x07a%2Cb;c"));
        assert_eq!(passed(&other), other, "{name:?}");
    }
}

#[test]
fn padding_priority_and_continuations_are_understood() {
    let (before, after) = (block_with(b"\x41\x85h://x"), block_with(b"\x41\x05qqqqq"));
    let padded = |block: &[u8]| {
        let payload = [&[3, 0x41, 0x81, 9, 9, 9][..], block, &[0x41, 0x81, b'x']].concat();
        frame(TYPE_HEADERS, END_HEADERS | FLAG_PADDED | FLAG_PRIORITY, &payload)
    };
    assert_eq!(passed(&stream(&[padded(&before)])), stream(&[padded(&after)]));
    // Cut inside the authority's value.
    let cut = |block: &[u8]| {
        let (a, b) = block.split_at(10);
        [frame(TYPE_HEADERS, 0, a), frame(TYPE_CONTINUATION, END_HEADERS, b)].concat()
    };
    assert_eq!(passed(&stream(&[cut(&before)])), stream(&[cut(&after)]));
}

#[test]
fn nonsense_passes_unharmed_and_the_next_block_is_read_again() {
    let endless = [&[0x41, 0x7f][..], &[0xff; 12]].concat();
    let short = frame(TYPE_HEADERS, END_HEADERS | FLAG_PADDED, &[200, 0x82]);
    let empty = frame(TYPE_HEADERS, END_HEADERS, &[]);
    let nonsense = [frame(TYPE_HEADERS, END_HEADERS, &endless), short, empty].concat();
    let good = |authority: &[u8]| frame(TYPE_HEADERS, END_HEADERS, &block_with(authority));
    let got = passed(&stream(&[nonsense.clone(), good(b"\x41\x85h://x")]));
    assert_eq!(got, stream(&[nonsense, good(b"\x41\x05qqqqq")]));
}
