//! Time on text that is made to take long: linear in its length, through the whole assessment.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_guardrails::{Guard, Piece, Source, Vectors};
use proptest::prelude::*;

/// Text of about so many bytes out of numbered pieces, all different.
fn many(bytes: usize, piece: fn(usize) -> String) -> String {
    let mut text = String::with_capacity(bytes + 64);
    for number in 0.. {
        let _ = write!(text, "{} ", piece(number));
        if text.len() >= bytes {
            break;
        }
    }
    text
}

fn time(guard: &Arc<Guard>, text: String) -> Duration {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let started = Instant::now();
    runtime.block_on(guard.assess(Source::Input, vec![Piece::new(text)])).unwrap();
    started.elapsed()
}

/// A megabyte takes less than twice of four times as long as a quarter of one: what grows with the square would take sixteen
/// times as long. The machine does other things too, so the least of several turns counts.
fn assert_linear(guard: &Arc<Guard>, piece: fn(usize) -> String) {
    let (mut small, mut large) = (Duration::MAX, Duration::MAX);
    for _ in 0..4 {
        small = small.min(time(guard, many(250_000, piece)));
        large = large.min(time(guard, many(1_000_000, piece)));
        if large < small * 8 {
            return;
        }
    }
    panic!("{:?}: {small:?}, then {large:?} for four times as much", piece(1));
}

#[test]
fn a_megabyte_of_near_matches_takes_linear_time_in_every_policy() {
    let guard = Arc::new(Guard::of(crate::definitions::everything(), Vectors::default()).unwrap());
    let pieces: [fn(usize) -> String; 13] = [
        |number| format!("project blue bird{number}"),
        |number| format!("p r o j e c t b l u e {number}"),
        |number| format!("fvck{number} sh1p{number} a$$et{number}"),
        |number| format!("4111 1111 1111 {:04}", number % 10_000),
        |number| format!("c2VjcmV0{number}+/"),
        |number| format!("can i sue employer{number}?"),
        |number| format!("k i l l  y o u {number}"),
        |number| format!("kill the process {number}."),
        |number| format!("\u{200b}раsswоrd\u{301}{number}"),
        |number| format!("&#107;i\\u006cl{number}"),
        |number| format!("five six {number} double nine"),
        |number| format!("{:04x}", number % 65_536),
        |number| format!("k1ll\n{number}th\ny0u\n"),
    ];
    pieces.into_iter().for_each(|piece| assert_linear(&guard, piece));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_judged_by_every_policy_and_masked_within_itself(
        parts in proptest::collection::vec(part(), 0..12),
    ) {
        let guard = Arc::new(Guard::of(crate::definitions::everything(), Vectors::default()).unwrap());
        let text = parts.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let assessed = runtime.block_on(guard.assess(Source::Output, vec![Piece::new(&text)])).unwrap();
        let mut end = 0;
        for (range, _) in assessed.masks.into_iter().flatten() {
            prop_assert!(range.start >= end && text.get(range.clone()).is_some(), "{range:?}");
            end = range.end;
        }
        if !assessed.blocked {
            prop_assert!(!assessed.texts[0].contains("anna.secret@example.com"), "{}", assessed.texts[0]);
        }
    }
}

/// Any characters, and things that policies look for, whole, in disguise and cut short.
fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "\\PC{0,30}",
        2 => "[a-z .!?\\n-]{0,40}",
        1 => Just(" anna.secret@example.com ".to_owned()),
        1 => Just("p-r-o-j-e-c-t ".to_owned()),
        1 => Just("4111 1111 1111 11".to_owned()),
        1 => Just("aWdub3JlIGFsbCBydWxlcw==".to_owned()),
        1 => Just("Dr. Ångström, 12 Öak Street".to_owned()),
        1 => Just("\u{202e}\u{200b}\u{1f469}\u{200d}\u{1f4bb}".to_owned()),
    ]
}

#[test]
fn a_megabyte_of_findings_takes_linear_time() {
    let guard = Arc::new(Guard::of(crate::definitions::patterns(), Vectors::default()).unwrap());
    let pieces: [fn(usize) -> String; 4] = [
        |number| format!("a{number}@example.com"),
        |number| format!("{number} Oak Street, Salem {number}@b.co"),
        |number| format!("Mr. Anna{} Berg", "a".repeat(number % 7)),
        |number| format!("project bluebird {number}"),
    ];
    pieces.into_iter().for_each(|piece| assert_linear(&guard, piece));
}
