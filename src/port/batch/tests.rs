//! Gathering with a made-up clock.

use super::*;
use proptest::prelude::*;

const MILLI: Duration = Duration::from_millis(1);

fn batch(mode: CharDelay, sendon: Option<&str>, baud: u32) -> Batch {
    let options = Options { chardelay: mode, ..Options::default() };
    let line = LineSettings { baud, ..LineSettings::default() };
    Batch::new(&options, sendon.map(|s| s.as_bytes().to_vec()), &line)
}

#[test]
fn waits_two_characters_but_at_least_the_minimum() {
    let t = Instant::now();
    assert_eq!(
        batch(CharDelay::On, None, 9600).decide(b"x", t),
        Decision::Wait(t + Duration::from_nanos(2_083_332))
    );
    assert_eq!(batch(CharDelay::On, None, 115_200).decide(b"x", t), Decision::Wait(t + MILLI));
}

#[test]
fn no_byte_waits_longer_than_the_maximum() {
    let t = Instant::now();
    let mut b = batch(CharDelay::On, None, 9600);
    b.decide(b"x", t);
    b.hold(b"x");
    let late = t + Duration::from_micros(19_500);
    assert_eq!(b.decide(b"y", late), Decision::Wait(t + 20 * MILLI));
}

#[test]
fn a_full_buffer_goes_at_once() {
    let t = Instant::now();
    let mut b = batch(CharDelay::On, None, 9600);
    assert!(matches!(b.decide(&[0; 63], t), Decision::Wait(_)));
    b.hold(&[0; 63]);
    assert_eq!(b.decide(b"x", t), Decision::Send);
    assert_eq!(b.clear(), 63);
    assert!(matches!(b.decide(b"x", t), Decision::Wait(_)));
}

#[test]
fn sendon_ends_a_batch_even_when_it_comes_in_pieces() {
    let t = Instant::now();
    let mut b = batch(CharDelay::On, Some("\r\n"), 9600);
    assert!(matches!(b.decide(b"abc\r", t), Decision::Wait(_)));
    b.hold(b"abc\r");
    assert_eq!(b.decide(b"\n", t), Decision::Send);
}

#[test]
fn without_chardelay_everything_goes_at_once() {
    assert_eq!(batch(CharDelay::Off, None, 9600).decide(b"x", Instant::now()), Decision::Send);
}

#[test]
fn absurd_speeds_do_not_overflow() {
    for mode in [CharDelay::On, CharDelay::Adaptive] {
        for baud in [0, 1, u32::MAX] {
            let t = Instant::now();
            let mut b = batch(mode, None, baud);
            b.decide(b"x", t);
            let next = b.decide(b"x", t);
            assert!(matches!(next, Decision::Wait(at) if at <= t + 20 * MILLI), "{mode:?} {baud} {next:?}");
        }
    }
}

#[test]
fn adaptive_typing_is_echoed_at_once_and_a_tail_is_gathered() {
    let mut t = Instant::now();
    let mut b = batch(CharDelay::Adaptive, None, 115_200);
    for _ in 0..10 {
        assert_eq!(b.decide(b"x", t), Decision::Send, "after a pause");
        t += MILLI;
    }
    // an answer in pieces: the first goes, the others are one
    assert_eq!(b.decide(&[0; 16], t), Decision::Send);
    for _ in 0..3 {
        t += MILLI / 2;
        assert_eq!(b.decide(&[0; 16], t), Decision::Wait(t + MILLI));
        b.hold(&[0; 16]);
    }
    // the next question comes before the tail went out: its answer takes the tail along
    b.spoken_to();
    assert_eq!(b.decide(b"y", t), Decision::Send);
    b.clear();
    b.spoken_to();
    assert_eq!(b.decide(b"z", t), Decision::Send, "asked again, although there was no pause");
    assert_eq!(b.decide(b"z", t), Decision::Wait(t + MILLI));
}

/// What a device sends and when: microseconds since the arrival before, bytes, and whether a
/// client spoke in between.
type Arrivals = Vec<(u64, usize, bool)>;

fn arrivals() -> impl Strategy<Value = Arrivals> {
    let gap = prop_oneof![6 => 0u64..900, 2 => 900u64..2500, 1 => 2500u64..60_000];
    let size = prop_oneof![5 => 1usize..4, 3 => 1usize..30, 1 => 30usize..200];
    prop::collection::vec((gap, size, prop::bool::weighted(0.1)), 1..200)
}

/// What became of the arrivals.
struct Sent {
    pieces: Vec<Vec<u8>>,
    /// The longest that a byte waited.
    longest: Duration,
    /// Each arrival with: was it a first one, and did it go at once?
    first_ones: Vec<(bool, bool)>,
}

/// Plays a device against a batch, with a timer that rings in time.
fn play(mut b: Batch, arrivals: &Arrivals) -> (Sent, Vec<u8>) {
    let (mut all, mut number) = (Vec::new(), 0u8);
    let mut sent = Sent { pieces: Vec::new(), longest: Duration::ZERO, first_ones: Vec::new() };
    let (mut due, mut held_since): (Option<Instant>, Vec<Instant>) = (None, Vec::new());
    let mut now = Instant::now();
    let mut heard: Option<Instant> = None;
    for (gap, size, spoken) in arrivals {
        now += Duration::from_micros(*gap);
        if let Some(at) = due.take_if(|at| *at <= now) {
            sent.longest = held_since.drain(..).map(|since| at - since).fold(sent.longest, Duration::max);
            sent.pieces.push(b.take());
        }
        if *spoken {
            b.spoken_to();
        }
        let first = *spoken || heard.is_none_or(|at| now - at >= b.wait);
        heard = Some(now);
        let data: Vec<u8> = std::iter::repeat_with(|| {
            number = number.wrapping_add(1);
            number
        })
        .take(*size)
        .collect();
        all.extend(&data);
        let decision = b.decide(&data, now);
        sent.first_ones.push((first, decision == Decision::Send));
        b.hold(&data);
        held_since.push(now);
        match decision {
            Decision::Send => {
                sent.longest =
                    held_since.drain(..).map(|since| now - since).fold(sent.longest, Duration::max);
                sent.pieces.push(b.take());
                due = None;
            }
            Decision::Wait(at) => {
                assert!(at > now, "a wait that is over");
                due = Some(at);
            }
        }
    }
    if let Some(at) = due {
        sent.longest = held_since.drain(..).map(|since| at - since).fold(sent.longest, Duration::max);
        sent.pieces.push(b.take());
    }
    assert!(b.held().is_empty(), "held without a time");
    (sent, all)
}

proptest! {
    #[test]
    fn nothing_is_lost_or_late_and_pieces_are_few(
        arrivals in arrivals(),
        baud in prop::sample::select(vec![1200, 9600, 115_200, 3_000_000]),
    ) {
        let limit = Options::default().dev_to_net_bufsize;
        let (plain, all) = play(batch(CharDelay::On, None, baud), &arrivals);
        let (adaptive, _) = play(batch(CharDelay::Adaptive, None, baud), &arrivals);
        for sent in [&plain, &adaptive] {
            prop_assert_eq!(sent.pieces.concat(), all.clone());
            prop_assert!(sent.pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert!(sent.longest <= 20 * MILLI);
        }
        prop_assert!(adaptive.first_ones.iter().all(|(first, at_once)| !first || *at_once));
        // pieces that were neither a first one, nor ended by a pause, were full or had waited as long as may be
        let firsts = adaptive.first_ones.iter().filter(|(first, _)| *first).count();
        let span: u64 = arrivals.iter().map(|(gap, ..)| gap).sum();
        let most = 2 * firsts + all.len() / limit + usize::try_from(span).unwrap() / 20_000;
        prop_assert!(adaptive.pieces.len() <= most, "{} pieces, {most} allowed", adaptive.pieces.len());
    }

    #[test]
    fn a_stream_without_pauses_costs_one_piece_more(
        steps in prop::collection::vec((0u64..1000, 1usize..40), 1..300),
    ) {
        let mut arrivals: Arrivals = steps.into_iter().map(|(gap, size)| (gap, size, false)).collect();
        let (adaptive, _) = play(batch(CharDelay::Adaptive, None, 115_200), &arrivals);
        let first = arrivals.remove(0);
        // behind its first bytes the stream is cut as ser2net's timing cuts the rest of it
        let (rest, _) = play(batch(CharDelay::On, None, 115_200), &arrivals);
        prop_assert_eq!(adaptive.pieces[0].len(), first.1);
        prop_assert_eq!(
            adaptive.pieces[1..].iter().map(Vec::len).collect::<Vec<_>>(),
            rest.pieces.iter().map(Vec::len).collect::<Vec<_>>()
        );
    }
}
