use super::*;
use crate::serial::settings::{Flow, Parity};
use crate::serial::sys;

fn state(given: Option<LineSettings>) -> State {
    let (master, _) = crate::connect::pty::create().unwrap();
    State::new(&sys::termios(&master).unwrap(), given)
}

fn ioctl(state: &mut State, command: libc::Ioctl, argument: u64, input: &[u8]) -> Outcome {
    let mut ioctl = Ioctl { command: command as u32, argument, input: &[], room: 0 };
    match state.control(&ioctl) {
        Outcome::Again(reads, writes) => {
            assert_eq!(reads, input.len());
            (ioctl.input, ioctl.room) = (input, writes);
            state.control(&ioctl)
        }
        other => other,
    }
}

fn done(bytes: &[u8]) -> Outcome {
    Outcome::Done(bytes.to_vec())
}

#[test]
fn settings_come_and_go() {
    let mut state = state(None);
    assert_eq!(state.all(), []);
    let Outcome::Done(bytes) = ioctl(&mut state, libc::TCGETS2, 0, &[]) else { panic!() };
    assert_eq!(bytes.len(), TERMIOS2);
    let line = LineSettings {
        baud: 74_880,
        size: 7,
        parity: Parity::Even,
        stop: 2,
        flow: Flow { xonxoff: false, rtscts: true },
        local: true,
        hangup_when_done: Some(false),
    };
    state.termios = configured_settings(&state.termios, &line);
    let wanted = state.bytes(true);
    assert_ne!(bytes, wanted);
    assert_eq!(ioctl(&mut state, libc::TCSETS2, 0, &wanted), done(&[]));
    let asks = std::mem::take(&mut state.asks);
    assert_eq!(
        asks,
        [
            Request::Baud(Some(74_880)),
            Request::Size(Some(7)),
            Request::Parity(Some(Parity::Even)),
            Request::Stop(Some(2)),
            Request::Flow(Some(line.flow)),
        ]
    );
    assert_eq!(state.all(), asks);
    assert_eq!(ioctl(&mut state, libc::TCGETS2, 0, &[]), done(&wanted));
    // the same through the short structure changes nothing, as the speed is no number there
    assert_eq!(ioctl(&mut state, libc::TCSETSW, 0, &wanted[..TERMIOS]), Outcome::Drain);
    assert_eq!((state.asks.len(), state.termios.c_ospeed), (0, 74_880));
}

#[test]
fn modem_lines_move() {
    let mut state = state(None);
    state.open(false);
    let both = (DTR | RTS).to_ne_bytes();
    assert_eq!(ioctl(&mut state, libc::TIOCMGET, 0, &[]), done(&both));
    assert_eq!(ioctl(&mut state, libc::TIOCMBIC, 0, &RTS.to_ne_bytes()), done(&[]));
    assert_eq!(ioctl(&mut state, libc::TIOCMBIC, 0, &DTR.to_ne_bytes()), done(&[]));
    assert_eq!(ioctl(&mut state, libc::TIOCMBIC, 0, &DTR.to_ne_bytes()), done(&[]));
    assert_eq!(ioctl(&mut state, libc::TIOCMSET, 0, &both), done(&[]));
    let expected = [Request::DtrRts(true, false), Request::Dtr(Some(false)), Request::DtrRts(true, true)];
    assert_eq!(state.asks, expected);
    assert_eq!(state.notice(Notice::Modem(0x9f)), CD | CTS);
    assert_eq!(state.notice(Notice::Modem(0x20)), CD | CTS | DSR);
    assert_eq!(state.notice(Notice::Line(0x14)), 0);
    assert_eq!(ioctl(&mut state, libc::TIOCMGET, 0, &[]), done(&(DTR | RTS | DSR).to_ne_bytes()));
    let Outcome::Done(counts) = ioctl(&mut state, TIOCGICOUNT, 0, &[]) else { panic!() };
    assert_eq!(counts.len(), COUNTS);
    let count = |at: usize| u32::from_ne_bytes(*counts[at * 4..].first_chunk().unwrap());
    assert_eq!([count(0), count(1), count(2), count(3)], [2, 1, 0, 2]);
    assert_eq!([count(6), count(7), count(8), count(9)], [0, 0, 1, 1]);
}

#[test]
fn others_are_answered_or_refused() {
    let mut state = state(None);
    assert_eq!(ioctl(&mut state, libc::TCSBRK, 1, &[]), Outcome::Drain);
    assert_eq!(ioctl(&mut state, libc::TCSBRK, 0, &[]), Outcome::Break(BREAK));
    assert_eq!(ioctl(&mut state, TCSBRKP, u64::MAX, &[]), Outcome::Break(Duration::from_secs(3)));
    assert_eq!(ioctl(&mut state, libc::TCFLSH, 2, &[]), Outcome::Flush(Purge::Both));
    assert_eq!(ioctl(&mut state, libc::TCFLSH, 9, &[]), Outcome::Failed(libc::EINVAL));
    assert_eq!(ioctl(&mut state, TIOCMIWAIT, 0x20, &[]), Outcome::Wait(CTS));
    let low_latency = [7; SERIAL];
    assert_eq!(ioctl(&mut state, TIOCSSERIAL, 0, &low_latency), done(&[]));
    assert_eq!(ioctl(&mut state, TIOCGSERIAL, 0, &[]), done(&low_latency));
    assert_eq!(ioctl(&mut state, libc::TIOCSCTTY, 0, &[]), Outcome::Failed(libc::ENOTTY));
    assert_eq!(ioctl(&mut state, libc::TIOCEXCL, 0, &[]), done(&[]));
    assert_eq!(ioctl(&mut state, TIOCGEXCL, 0, &[]), done(&1_u32.to_ne_bytes()));
    state.close(true);
    assert!(!state.exclusive);
    assert_eq!(state.asks, [Request::DtrRts(false, false)]);
}

#[test]
fn bytes_are_translated_when_that_is_wanted() {
    let mut state = state(None);
    assert_eq!(state.output(b"a\n"), b"a\n");
    assert_eq!(state.input(b'\r'), Some(b'\r'));
    state.termios.c_oflag = libc::OPOST | libc::ONLCR;
    state.termios.c_iflag = libc::ICRNL;
    assert_eq!(state.output(b"a\n"), b"a\r\n");
    assert_eq!(state.input(b'\r'), Some(b'\n'));
    state.termios.c_iflag = libc::IGNCR | libc::ISTRIP;
    assert_eq!((state.input(b'\r'), state.input(0xe1)), (None, Some(b'a')));
}
