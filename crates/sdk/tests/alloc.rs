//! An evaluation through the client allocates nothing, once a unit's exposure is noted.
#![expect(unsafe_code, reason = "an allocator that counts has to be one")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use common::{DOCUMENT, Ensign, SECOND, eventually};
use ensign_sdk::{Client, Config, Pairs};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // After the thread's locals are gone nobody counts any more.
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn evaluations_allocate_nothing() {
    let ensign = Ensign::start();
    ensign.apply(DOCUMENT);
    ensign.apply(SECOND);
    let client = Client::start(Config::new(ensign.url(), ensign.sdk_key())).unwrap();
    assert!(client.wait_ready(Duration::from_secs(20)));
    eventually(|| client.snapshot().flags().count() == 6);
    let attributes = [("plan", "pro".into()), ("user_segment", "x".into()), ("age", 40_i64.into())];
    let contexts: Vec<Pairs<'_>> = ["u1", "u2", "u3"].map(|unit| Pairs::new(unit, &attributes)).to_vec();
    let mut reader = client.reader();
    let mut round = || {
        for flag in ["inference_model", "ranker", "top_k", "temperature", "stream_answers", "format"] {
            for context in &contexts {
                let reading = client.read();
                std::hint::black_box(reading.evaluate(flag, context).variant());
                std::hint::black_box(reader.read().evaluate(flag, context).variant());
            }
        }
    };
    round();
    let before = COUNT.with(Cell::get);
    for _ in 0..1_000 {
        round();
    }
    assert_eq!(COUNT.with(Cell::get) - before, 0, "36,000 evaluations allocated");
    ensign.stop();
}
