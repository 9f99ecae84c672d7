//! Messages of `/dev/cuse` (`linux/fuse.h`): requests from bytes, replies as bytes. All numbers are in
//! the byte order of the machine.

/// Bytes in front of every request.
const HEADER: usize = 40;
/// Longest read and write of a program, and more than the kernel's least (4096).
pub(super) const MOVE_MAX: u32 = 16 * 1024;
/// Room for the longest request: a write, with its two headers.
pub(super) const REQUEST_MAX: usize = 32 * 1024;

mod opcode {
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const IOCTL: u32 = 39;
    pub(super) const POLL: u32 = 40;
    pub(super) const CUSE_INIT: u32 = 4096;
}

/// The kernel asks again with the bytes that the iovecs of the answer describe.
const IOCTL_RETRY: u32 = 1 << 2;
/// Flag of a poll: it is to be told when something changes.
const SCHEDULE_NOTIFY: u32 = 1;
/// "Error" of the message that something to be polled has changed.
const NOTIFY_POLL: i32 = 1;
/// The device takes ioctls of any form.
const UNRESTRICTED_IOCTL: u32 = 1;
/// Reads and writes go past the page cache, and there is nowhere to seek.
const DIRECT_IO: u32 = 1;
const NONSEEKABLE: u32 = 1 << 2;

/// What the kernel asks for, for a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// Number for the answer.
    pub(super) unique: u64,
    /// User of the program.
    pub(super) uid: u32,
    pub(super) body: Body<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// The kernel's version of the protocol.
    Init {
        major: u32,
        minor: u32,
    },
    Open,
    Release {
        handle: u64,
    },
    Read {
        size: usize,
        nonblocking: bool,
    },
    Write {
        data: &'a [u8],
        nonblocking: bool,
    },
    Ioctl(Ioctl<'a>),
    Poll {
        handle: u64,
        kernel_handle: u64,
        notify: bool,
    },
    /// The request with this number is not waited for any more.
    Interrupt {
        unique: u64,
    },
    /// Something else, or a request that is cut.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ioctl<'a> {
    pub(super) command: u32,
    /// A number, or an address in the program.
    pub(super) argument: u64,
    /// What is at that address, once it was asked for.
    pub(super) input: &'a [u8],
    /// Room there for an answer, once it was asked for.
    pub(super) room: usize,
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

impl<'a> Request<'a> {
    /// Reads a request. `None`: it has no whole header.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let body = bytes.get(HEADER..)?;
        let (operation, unique, uid) = (u32_at(bytes, 4)?, u64_at(bytes, 8)?, u32_at(bytes, 24)?);
        Some(Self { unique, uid, body: Body::parse(operation, body).unwrap_or(Body::Unknown) })
    }
}

impl<'a> Body<'a> {
    fn parse(operation: u32, bytes: &'a [u8]) -> Option<Self> {
        let nonblocking = |at| Some(u32_at(bytes, at)? & libc::O_NONBLOCK.cast_unsigned() != 0);
        Some(match operation {
            opcode::CUSE_INIT => Self::Init { major: u32_at(bytes, 0)?, minor: u32_at(bytes, 4)? },
            opcode::OPEN => Self::Open,
            opcode::RELEASE => Self::Release { handle: u64_at(bytes, 0)? },
            opcode::READ => Self::Read { size: u32_at(bytes, 16)? as usize, nonblocking: nonblocking(32)? },
            opcode::WRITE => {
                let size = u32_at(bytes, 16)? as usize;
                Self::Write { data: bytes.get(40..)?.get(..size)?, nonblocking: nonblocking(32)? }
            }
            opcode::IOCTL => Self::Ioctl(Ioctl {
                command: u32_at(bytes, 12)?,
                argument: u64_at(bytes, 16)?,
                input: bytes.get(32..)?.get(..u32_at(bytes, 24)? as usize)?,
                room: u32_at(bytes, 28)? as usize,
            }),
            opcode::POLL => Self::Poll {
                handle: u64_at(bytes, 0)?,
                kernel_handle: u64_at(bytes, 8)?,
                notify: u32_at(bytes, 16)? & SCHEDULE_NOTIFY != 0,
            },
            opcode::INTERRUPT => Self::Interrupt { unique: u64_at(bytes, 0)? },
            _ => return None,
        })
    }
}

/// A message to the kernel.
fn message(unique: u64, error: i32, body: &[&[u8]]) -> Vec<u8> {
    let length = 16 + body.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    // no message is longer than MOVE_MAX and a header
    bytes.extend_from_slice(&(length as u32).to_ne_bytes());
    bytes.extend_from_slice(&error.to_ne_bytes());
    bytes.extend_from_slice(&unique.to_ne_bytes());
    for part in body {
        bytes.extend_from_slice(part);
    }
    bytes
}

fn words(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}

/// It did not work; `errno` is positive.
pub(super) fn failure(unique: u64, errno: i32) -> Vec<u8> {
    message(unique, -errno, &[])
}

/// It worked, with nothing to say but these bytes (of a read).
pub(super) fn bytes(unique: u64, data: &[u8]) -> Vec<u8> {
    message(unique, 0, &[data])
}

/// The device `name` is made.
pub(super) fn initialized(unique: u64, minor: u32, name: &str) -> Vec<u8> {
    let mut numbers = vec![7, minor, 0, UNRESTRICTED_IOCTL, MOVE_MAX, MOVE_MAX, 0, 0];
    numbers.extend([0; 10]);
    message(unique, 0, &[&words(&numbers), b"DEVNAME=", name.as_bytes(), b"\0"])
}

/// It is open.
pub(super) fn opened(unique: u64, handle: u64) -> Vec<u8> {
    message(unique, 0, &[&handle.to_ne_bytes(), &words(&[DIRECT_IO | NONSEEKABLE, 0])])
}

/// So many bytes are written.
pub(super) fn written(unique: u64, count: usize) -> Vec<u8> {
    // a write is at most MOVE_MAX
    message(unique, 0, &[&words(&[count as u32, 0])])
}

/// What poll(2) finds.
pub(super) fn polled(unique: u64, events: u32) -> Vec<u8> {
    message(unique, 0, &[&words(&[events, 0])])
}

/// What poll(2) would find has changed.
pub(super) fn changed(kernel_handle: u64) -> Vec<u8> {
    message(0, NOTIFY_POLL, &[&kernel_handle.to_ne_bytes()])
}

/// An ioctl worked, and wrote `output` to its argument.
pub(super) fn controlled(unique: u64, output: &[u8]) -> Vec<u8> {
    message(unique, 0, &[&words(&[0, 0, 0, 0]), output])
}

/// An ioctl reads `input` bytes at `address` and writes `output` there; it is to come again with them.
pub(super) fn again(unique: u64, address: u64, input: usize, output: usize) -> Vec<u8> {
    let mut vectors = Vec::new();
    for length in [input, output].into_iter().filter(|length| *length > 0) {
        vectors.extend_from_slice(&address.to_ne_bytes());
        vectors.extend_from_slice(&(length as u64).to_ne_bytes());
    }
    let counts = words(&[0, IOCTL_RETRY, u32::from(input > 0), u32::from(output > 0)]);
    message(unique, 0, &[&counts, &vectors])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(operation: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = words(&[(HEADER + body.len()) as u32, operation]);
        bytes.extend(77_u64.to_ne_bytes());
        bytes.extend(0_u64.to_ne_bytes());
        bytes.extend(words(&[1000, 1000, 4242, 0]));
        assert_eq!(bytes.len(), HEADER);
        bytes.extend(body);
        bytes
    }

    fn parsed(bytes: &[u8]) -> Body<'_> {
        let request = Request::parse(bytes).unwrap();
        assert_eq!((request.unique, request.uid), (77, 1000));
        request.body
    }

    #[test]
    fn requests_are_read() {
        assert_eq!(parsed(&request(14, &[0; 8])), Body::Open);
        assert_eq!(parsed(&request(4096, &words(&[7, 37, 0, 1]))), Body::Init { major: 7, minor: 37 });
        let nonblocking = libc::O_NONBLOCK.cast_unsigned();
        let read = request(15, &words(&[5, 0, 0, 0, 100, 0, 0, 0, nonblocking, 0]));
        assert_eq!(parsed(&read), Body::Read { size: 100, nonblocking: true });
        let mut body = words(&[5, 0, 0, 0, 3, 0, 0, 0, 0, 0]);
        body.extend(b"abc");
        assert_eq!(parsed(&request(16, &body)), Body::Write { data: b"abc", nonblocking: false });
        // cut short
        body.pop();
        assert_eq!(parsed(&request(16, &body)), Body::Unknown);
        let mut body = words(&[5, 0, 2, 0x5402, 0x1000, 0, 2, 9]);
        body.extend([1, 2]);
        let ioctl = Ioctl { command: 0x5402, argument: 0x1000, input: &[1, 2], room: 9 };
        assert_eq!(parsed(&request(39, &body)), Body::Ioctl(ioctl));
        let poll = Body::Poll { handle: 5, kernel_handle: 6, notify: true };
        assert_eq!(parsed(&request(40, &words(&[5, 0, 6, 0, 1, 5]))), poll);
        assert_eq!(parsed(&request(36, &words(&[9, 0]))), Body::Interrupt { unique: 9 });
        assert_eq!(parsed(&request(99, &[])), Body::Unknown);
        assert_eq!(Request::parse(&[0; 39]), None);
    }

    #[test]
    fn replies_have_their_length() {
        for reply in [
            failure(7, libc::EIO),
            bytes(7, b"data"),
            initialized(7, 31, "ttyV0"),
            opened(7, 1),
            written(7, 3),
            polled(7, 5),
            changed(9),
            controlled(7, &[1, 2, 3, 4]),
            again(7, 0x1000, 4, 36),
        ] {
            assert_eq!(u32_at(&reply, 0), Some(reply.len() as u32), "{reply:?}");
        }
        assert_eq!(again(7, 0x1000, 0, 36).len(), 16 + 16 + 16);
        assert_eq!(initialized(7, 31, "t").len(), 16 + 72 + 10);
    }

    proptest! {
        #[test]
        fn nothing_breaks_it(operation in prop_oneof![0..50_u32, Just(4096)], body in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Request::parse(&request(operation, &body));
            let _ = Request::parse(&body);
        }
    }
}
