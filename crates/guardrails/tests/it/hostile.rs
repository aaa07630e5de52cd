//! Time on text that is made to take long: linear in its length, through the whole assessment.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use craton_guardrails::{Guard, Piece, Source, Vectors};

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

#[test]
fn a_megabyte_of_findings_takes_linear_time() {
    let guard = Arc::new(Guard::with_patterns(Vectors::default()).unwrap());
    let pieces: [fn(usize) -> String; 4] = [
        |number| format!("a{number}@example.com"),
        |number| format!("{number} Oak Street, Salem {number}@b.co"),
        |number| format!("Mr. Anna{} Berg", "a".repeat(number % 7)),
        |number| format!("project bluebird {number}"),
    ];
    for piece in pieces {
        let small = time(&guard, many(60_000, piece)).max(Duration::from_millis(20));
        let large = time(&guard, many(960_000, piece));
        assert!(large < small * 80, "{:?}: {small:?}, then {large:?} for sixteen times as much", piece(1));
    }
}
