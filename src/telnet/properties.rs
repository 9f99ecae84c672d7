//! Property tests: cutting, escaping, bounds, and negotiation with peers of every kind.

use super::exercise::{check, decode};
use super::{Codec, Item, code};
use crate::config::TelnetOptions;
use crate::serial::request::{Notice, Reply, Request};
use proptest::collection::vec;
use proptest::prelude::*;

/// Bytes among which telnet commands and COM-PORT subnegotiations are frequent.
pub(super) fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        3 => vec(any::<u8>(), 0..40),
        2 => vec(prop_oneof![Just(255_u8), 236..=255_u8], 1..6),
        3 => (251..=254_u8, prop_oneof![Just(0_u8), Just(1), Just(3), Just(44), any::<u8>()])
            .prop_map(|(verb, option)| vec![255, verb, option]),
        4 => (0..=14_u8, vec(any::<u8>(), 0..6)).prop_map(|(command, value)| {
            let mut bytes = vec![255, 250, 44, command];
            bytes.extend(value);
            bytes.extend([255, 240]);
            bytes
        }),
        3 => (101..=113_u8, vec(any::<u8>(), 0..6)).prop_map(|(command, value)| {
            let mut bytes = vec![255, 250, 44, command];
            bytes.extend(value);
            bytes.extend([255, 240]);
            bytes
        }),
        3 => (7..=12_u8).prop_map(|value| vec![255, 250, 44, 5, value, 255, 240]),
        1 => (200..400_usize).prop_map(|length| {
            let mut bytes = vec![255, 250, 44];
            bytes.resize(length, 1);
            bytes.extend([255, 240]);
            bytes
        }),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_must_hold_for_every_input_holds(kind in 0..2_u8, cut: u8, bytes in stream()) {
        let mut input = vec![kind, cut];
        input.extend(bytes);
        prop_assert_eq!(check(&input), Ok(()));
    }

    #[test]
    fn decoding_does_not_depend_on_the_cuts(
        rfc2217: bool,
        bytes in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        prop_assert_eq!(decode(rfc2217, chunks), decode(rfc2217, [&bytes[..]]));
    }

    #[test]
    fn negotiation_with_any_rule_bound_peer_ends(
        rfc2217: bool,
        table in vec(0..6_u8, 4 * 256),
        first in vec((251..=254_u8, any::<u8>()), 0..20),
    ) {
        // The peer answers a verb on an option by a fixed rule: nothing, any of the four verbs, or
        // the same verb back.
        let answer = |verb: u8, option: u8| {
            match table[usize::from(verb - code::WILL) * 256 + usize::from(option)] {
                0 => None,
                5 => Some(verb),
                other => Some(code::WILL + other - 1),
            }
        };
        let first = first.iter().flat_map(|&(verb, option)| [code::IAC, verb, option]).collect();
        prop_assert!(rounds_until_silence(rfc2217, first, answer) < ROUNDS);
    }
}

/// More rounds than the bounds of the codec allow for one option; far from for ever.
const ROUNDS: usize = 200;

/// Lets a codec and a peer with a rule talk. The number of rounds until the codec is silent, at
/// most [`ROUNDS`].
fn rounds_until_silence(
    rfc2217: bool,
    mut to_codec: Vec<u8>,
    answer: impl Fn(u8, u8) -> Option<u8>,
) -> usize {
    let mut codec = Codec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() });
    let mut from_codec = Vec::new();
    codec.opening(&mut from_codec);
    for round in 0..ROUNDS {
        let mut input = &to_codec[..];
        while codec.next(&mut input, &mut from_codec).is_some() {}
        if from_codec.is_empty() {
            return round;
        }
        to_codec = from_codec
            .chunks(3)
            .filter_map(|verb| answer(verb[1], verb[2]).map(|back| [code::IAC, back, verb[2]]))
            .flatten()
            .collect();
        from_codec.clear();
    }
    ROUNDS
}

#[test]
fn negotiation_with_a_mirror_and_with_contrarians_ends() {
    for rfc2217 in [false, true] {
        let mirror = |verb, _| Some(verb);
        assert!(rounds_until_silence(rfc2217, vec![], mirror) < 10);
        // Answers every WILL with DO, every DONT with WILL and so on: never content.
        let contrarian =
            |verb, _| Some([code::DO, code::DO, code::WONT, code::WILL][usize::from(verb - code::WILL)]);
        assert!(rounds_until_silence(rfc2217, vec![], contrarian) < ROUNDS);
        let stubborn = |_, _| Some(code::WILL);
        assert!(rounds_until_silence(rfc2217, vec![], stubborn) < ROUNDS);
    }
}

#[test]
fn two_codecs_come_to_rest() {
    let mut ends =
        [true, false].map(|rfc2217| Codec::new(TelnetOptions { rfc2217, ..TelnetOptions::default() }));
    let mut wire = Vec::new();
    ends[0].opening(&mut wire);
    let mut back = Vec::new();
    ends[1].opening(&mut back);
    for round in 0.. {
        assert!(round < 10, "still talking: {wire:?}");
        let end = &mut ends[(round + 1) % 2];
        let mut input = &wire[..];
        while let Some(item) = end.next(&mut input, &mut back) {
            if item == Item::Request(Request::PollModem) {
                end.notice(Notice::Modem(0), true, &mut back);
            }
            assert!(!matches!(item, Item::Data(_)), "{item:?}");
        }
        if back.is_empty() {
            break;
        }
        wire = std::mem::take(&mut back);
    }
    ends[0].reply(&Reply::Baud(9600), &mut wire);
    assert!(!ends[1].agreed());
}
