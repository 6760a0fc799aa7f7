//! Writing command lines: what the log and clients of our own send.

/// Appends a line as an array of bulk strings.
pub fn encode_line(args: &[&[u8]], out: &mut Vec<u8>) {
    encode_args(args.iter().copied(), out);
}

/// As [`encode_line`], of arguments that lie anywhere.
pub fn encode_args<'a>(args: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut number = itoa::Buffer::new();
    out.push(b'*');
    out.extend_from_slice(number.format(args.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    for arg in args {
        out.push(b'$');
        out.extend_from_slice(number.format(arg.len()).as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
}
