//! How many durable events per second the log takes: `cargo run --release -p ensign-store --example log_throughput`.
//!
//! Prints one line per group size: events per second with 1 and with 8 groups in flight.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use ensign_store::Micros;
use ensign_store::log::{Disk, Group, Limits, LogWriter, SegmentLog};

/// About what one outcome event takes.
const RECORD: [u8; 100] = [7; 100];
const TIME: Duration = Duration::from_secs(2);

#[expect(clippy::disallowed_methods, reason = "a measurement is what the clock is for")]
fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "target/log-throughput".into());
    let dir = std::path::PathBuf::from(dir);
    println!("records of {} bytes, {} s each, in {}", RECORD.len(), TIME.as_secs(), dir.display());
    println!("{:>8} {:>10} {:>14} {:>12} {:>10}", "group", "in flight", "events/s", "groups/s", "MB/s");
    for (records, in_flight) in
        [(1, 1), (1, 64), (100, 1), (100, 8), (1_000, 1), (1_000, 8), (10_000, 1), (10_000, 8)]
    {
        let _ = std::fs::remove_dir_all(&dir);
        let log = SegmentLog::open(Arc::new(Disk::new(&dir)?), Limits::default(), Arc::new(|| Micros(0)))?;
        let writer = LogWriter::start(log, 1024)?;
        let group: Group = std::iter::repeat_n(RECORD, records).collect();
        let (tell, told) = mpsc::channel();
        let submit = || {
            let tell = tell.clone();
            writer.submit(group.clone(), move |result| drop(tell.send(result)))
        };
        let start = Instant::now();
        for _ in 0..in_flight {
            submit()?;
        }
        let mut groups = 0_u64;
        while start.elapsed() < TIME {
            told.recv()??;
            groups += 1;
            submit()?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let rate = groups as f64 / seconds;
        let events = rate * records as f64;
        let megabytes = events * RECORD.len() as f64 / 1e6;
        println!("{records:>8} {in_flight:>10} {events:>14.0} {rate:>12.0} {megabytes:>10.1}");
        drop(writer);
        if (records, in_flight) == (10_000, 8) {
            let log =
                SegmentLog::open(Arc::new(Disk::new(&dir)?), Limits::default(), Arc::new(|| Micros(0)))?;
            let first = log.segments().first().map_or(0, |segment| segment.first);
            let start = Instant::now();
            let count = log.read_from(first)?.count();
            let rate = count as f64 / start.elapsed().as_secs_f64();
            println!("replay: {count} events, {rate:.0} events/s");
        }
    }
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}
