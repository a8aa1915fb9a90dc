//! Runs every case of the statistics vectors that belongs to a method built here.
//!
//! The cases were computed independently with 40 digits. Another file of the same format can be given in
//! `ENSIGN_STATISTICS_VECTORS`. A method that is built must be run; one that is not is listed as waiting.

#[path = "vectors/methods.rs"]
mod methods;

use methods::Judged;

fn load() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the test takes another file of vectors from the environment"
    )]
    let other = std::env::var("ENSIGN_STATISTICS_VECTORS").ok();
    match other {
        Some(path) => std::fs::read_to_string(&path).expect("the file of vectors can be read"),
        None => methods::OURS.to_owned(),
    }
}

#[test]
fn vectors() {
    let cases = methods::run(&load());
    assert!(!cases.is_empty(), "no cases");
    let (mut passed, mut failed, mut waiting) = (0, 0, 0);
    let mut worst = (0.0, String::new());
    for case in &cases {
        let name = format!("{:44} {:28}", case.id, case.method);
        match &case.judged {
            Judged::Waiting => {
                waiting += 1;
                println!("{name} waiting");
            }
            Judged::Off { off, at, ok } => {
                println!("{name} {} {off:.1e} {at}", if *ok { "ok" } else { "FAIL" });
                if *ok {
                    passed += 1;
                } else {
                    failed += 1;
                }
                if *off > worst.0 {
                    worst = (*off, format!("{} {at}", case.id));
                }
            }
            Judged::Failed(why) => {
                failed += 1;
                println!("{name} FAIL {why}");
            }
        }
    }
    println!("worst deviation {:.1e} ({})", worst.0, worst.1);
    println!("{passed} passed, {failed} failed, {waiting} waiting");
    assert_eq!(failed, 0, "see the lines marked FAIL");
}
