//! Whatever is seen in whatever order: the rules that have no exception.

use ensign_control::ids::{Epoch, Span, Timestamp};
use ensign_control::rollout::{Command, Facts, Phase, Who, Window};
use proptest::prelude::{Strategy, any, prop, proptest};
use proptest::{prop_assert, prop_assert_eq};

use crate::support::{START, document, healthy, rollout, with};

const WORDS: [&str; 12] = [
    "doubt",
    "harm",
    "proof",
    "mismatch",
    "errors",
    "silent-new",
    "silent-control",
    "cannot",
    "old-epoch",
    "stale",
    "quiet",
    "untrusted",
];
const NOT_ENOUGH: [&str; 6] = ["silent-new", "silent-control", "cannot", "old-epoch", "stale", "doubt"];

#[derive(Debug, Clone)]
struct Look {
    after: i64,
    n: u64,
    words: Vec<usize>,
    command: u8,
    closed: bool,
}

fn look() -> impl Strategy<Value = Look> {
    let words = prop::collection::vec(0..WORDS.len(), 0..3);
    let parts = (1i64..4_000, 0u64..400, words, any::<u8>(), any::<bool>());
    parts.prop_map(|(after, n, words, command, closed)| Look {
        after,
        n,
        words,
        command,
        closed: closed && n % 3 == 0,
    })
}

proptest! {
    #[test]
    fn rules_without_exception(looks in prop::collection::vec(look(), 1..60)) {
        let mut state = rollout(&document());
        let who = Who { by: "anna".into(), reason: None };
        let allowed = [0, 1_000, 5_000, 50_000, 95_000, 100_000];
        let mut now = START;
        for look in looks {
            now = now + Span::seconds(look.after);
            let words: Vec<&str> = look.words.iter().map(|word| WORDS[*word]).collect();
            let evidence = words.iter().fold(healthy(&state.plan, now, look.n), |seen, word| with(seen, word));
            let command = match look.command {
                0..=15 => Command::Start(who.clone()),
                16..=20 => Command::Hold(who.clone()),
                21..=40 => Command::Resume(who.clone()),
                41..=44 => Command::Approve(who.clone()),
                45 => Command::Abort(who.clone()),
                _ => Command::Tick,
            };
            let window = if look.closed { Window::Closed { until: None } } else { Window::Open };
            let facts = Facts { epoch: Some(Epoch(1)), window, killed: None, alarm: None };
            let Ok(Some(step)) = state.decide(&command, now, Some(&evidence), &facts) else { continue };
            let (from, to) = (state.share(), step.next.share());
            prop_assert!(!state.is_over(), "what is over never moves");
            prop_assert!(allowed.contains(&to), "only the plan's shares");
            prop_assert_eq!(step.split.map(|split| split.new_share), (from != to).then_some(to));
            if to > from {
                let at = allowed.iter().position(|share| *share == from).expect("the test is written so");
                prop_assert_eq!(to, allowed[at + 1], "one stage at a time");
                prop_assert!(!look.closed, "windows");
                let began = matches!(state.phase, Phase::Waiting { .. });
                prop_assert!(began || !words.iter().any(|word| NOT_ENOUGH.contains(word)), "never on {:?}", words);
                prop_assert!(began || look.n >= 100, "never on too few samples");
                prop_assert!(!words.contains(&"harm") || began);
            }
            if words.contains(&"harm") && !words.contains(&"stale") && command == Command::Tick && from > 0 {
                prop_assert_eq!(to, 0, "harm always goes back");
            }
            state = step.next;
        }
    }

    #[test]
    fn a_tick_without_evidence_never_moves_the_share(seconds in 0i64..10_000_000) {
        let mut state = rollout(&document());
        let who = Who { by: "anna".into(), reason: None };
        let facts = Facts::default();
        state = state.decide(&Command::Start(who), START, None, &facts).expect("the test is written so").expect("the test is written so").next;
        let now = Timestamp(START.0 + seconds * 1_000_000);
        if let Some(step) = state.decide(&Command::Tick, now, None, &facts).expect("the test is written so") {
            prop_assert_eq!(step.split, None);
        }
    }
}
