//! The log on a disk that forgets, tears, fills up and flips bits.

use std::sync::{Arc, mpsc};

use proptest::prelude::*;

use super::unreliable::{Crash, Unreliable};
use super::{Group, Limits, LogError, LogWriter, SegmentLog};
use crate::{Clock, Memory, Micros, Store};

/// Small enough that segments change often.
const LIMITS: Limits = Limits { segment_bytes: 400, record_bytes: 100, waiting_groups: 64 };

fn clock() -> Clock {
    Arc::new(|| Micros(1_000))
}

fn open(disk: &Unreliable) -> Result<SegmentLog, LogError> {
    SegmentLog::open(Arc::new(disk.clone()), LIMITS, clock())
}

fn all(log: &SegmentLog) -> Vec<Vec<u8>> {
    let first = log.segments()[0].first;
    let records = log.read_from(first).unwrap().enumerate();
    records
        .map(|(at, record)| {
            let (position, bytes) = record.unwrap();
            assert_eq!(position, first + at as u64);
            bytes
        })
        .collect()
}

/// Appends and syncs one group.
fn ack(log: &mut SegmentLog, records: &[&str]) -> Result<u64, LogError> {
    log.append(&records.iter().collect())?;
    log.sync()
}

#[test]
fn records_come_back_in_order_from_any_position() {
    let disk = Unreliable::new();
    let mut log = open(&disk).unwrap();
    let records: Vec<_> = (0..50).map(|n| format!("record {n}")).collect();
    for pair in records.chunks(2) {
        ack(&mut log, &pair.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    ack(&mut log, &["", ""]).unwrap();
    assert!(log.segments().len() > 3);
    for from in [0, 1, 17, 49, 51, 52] {
        let read: Vec<_> = log.read_from(from).unwrap().map(Result::unwrap).collect();
        assert_eq!(read.len() as u64, 52 - from);
        assert!(read.iter().zip(from..).all(|((position, _), expected)| *position == expected));
    }
    log.close().unwrap();
    let log = open(&disk).unwrap();
    assert_eq!((log.end(), log.cut_at_open()), (52, 0));
    assert_eq!(all(&log)[..50], records.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
}

#[test]
fn what_is_too_large_is_refused_and_nothing_else() {
    let mut log = open(&Unreliable::new()).unwrap();
    let long = "x".repeat(101);
    assert_eq!(ack(&mut log, &[&long]), Err(LogError::TooLarge));
    assert_eq!(ack(&mut log, &["x"; 40]), Err(LogError::TooLarge));
    assert_eq!(ack(&mut log, &["fits"]), Ok(1));
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let disk = Unreliable::new();
    let mut log = open(&disk).unwrap();
    ack(&mut log, &["before"]).unwrap();
    for room in 0..120 {
        disk.capacity(Some(disk.used() + room));
        let refused = [[0_u8; 90]; 2].iter().collect::<Group>();
        assert_eq!(log.append(&refused), Err(LogError::Full), "room for {room}");
        // What was there before is readable, and what fits is still taken.
        assert_eq!(all(&log)[0], b"before");
        disk.capacity(None);
        ack(&mut log, &["after"]).unwrap();
    }
    for how in [Crash::Forget, Crash::Keep, Crash::Tear(3)] {
        let log = open(&disk.crash(how)).unwrap();
        assert_eq!((log.end(), log.cut_at_open()), (121, 0));
        assert!(all(&log)[1..].iter().all(|record| record == b"after"));
    }
}

/// The story: after a failed fsync Linux marks the pages clean, so a second fsync succeeds without writing them. A log
/// that tries again acknowledges data that is nowhere.
#[test]
fn a_failed_sync_is_never_tried_again() {
    let disk = Unreliable::new();
    let mut log = open(&disk).unwrap();
    ack(&mut log, &["one"]).unwrap();
    disk.fail_sync(0);
    assert!(matches!(ack(&mut log, &["lost"]), Err(LogError::Fault(_))));
    assert_eq!(ack(&mut log, &["two"]), Ok(2));
    assert_eq!(log.segments().len(), 2, "goes on in a segment that the failure cannot have touched");
    for how in [Crash::Forget, Crash::Keep] {
        assert_eq!(all(&open(&disk.crash(how)).unwrap()), [b"one", b"two"]);
    }
    disk.fail_write(0, 5);
    assert!(matches!(ack(&mut log, &["lost"]), Err(LogError::Fault(_))));
    assert_eq!(all(&open(&disk.crash(Crash::Keep)).unwrap()), [b"one", b"two"]);
    assert_eq!(ack(&mut log, &["three"]), Ok(3));
}

#[test]
fn every_flipped_bit_of_acknowledged_data_is_found() {
    let disk = Unreliable::new();
    let mut log = open(&disk).unwrap();
    for n in 0..30 {
        ack(&mut log, &[&format!("record {n}")]).unwrap();
    }
    let (segments, records) = (log.segments(), all(&log));
    assert!(segments.len() > 2);
    log.close().unwrap();
    let mut damaged = 0;
    for segment in &segments {
        let size = disk.bytes(&segment.name).unwrap().len();
        for offset in 0..size {
            let copy = disk.crash(Crash::Keep);
            copy.flip(&segment.name, offset, offset as u8);
            let found = open(&copy).and_then(|log| {
                log.read_from(0)?.map(|record| Ok(record?.1)).collect::<Result<Vec<_>, LogError>>()
            });
            match found {
                Err(LogError::Corrupt { segment: named, .. }) => {
                    assert_eq!(named, segment.name);
                    damaged += 1;
                }
                // Reserved bytes, and the mark at the very end: no record is lost.
                Ok(found) => assert_eq!(found, records, "{} byte {offset}", segment.name),
                Err(error) => panic!("{} byte {offset}: {error}", segment.name),
            }
        }
    }
    assert!(damaged > 1_000);
}

#[test]
fn old_segments_go_only_when_both_limits_allow() {
    let disk = Unreliable::new();
    let mut log = open(&disk).unwrap();
    for n in 0..40 {
        ack(&mut log, &[&format!("record {n}")]).unwrap();
    }
    let segments = log.segments();
    let third = segments[2].first;
    assert_eq!(log.drop_before(third, Micros(999)), Ok(0), "too young");
    assert_eq!(log.drop_before(third - 1, Micros(1_000)), Ok(1), "the second is still needed");
    assert_eq!(log.drop_before(u64::MAX, Micros(i64::MAX)), Ok(segments.len() - 2), "never the last");
    let first = log.segments()[0].first;
    assert_eq!(log.read_from(0).err(), Some(LogError::Gone { first }));
    let log = open(&disk.crash(Crash::Forget)).unwrap();
    assert_eq!((log.segments()[0].first, log.end()), (first, 40));
}

/// Appends one group whose answer holds the thread, so that the next groups wait together.
fn hold(writer: &LogWriter) -> mpsc::Sender<()> {
    let (go, wait) = mpsc::channel();
    let (entered, held) = mpsc::channel();
    let answer = move |_| {
        entered.send(()).unwrap();
        wait.recv().unwrap();
    };
    writer.submit(["first"].iter().collect(), answer).unwrap();
    held.recv().unwrap();
    go
}

#[tokio::test]
async fn groups_that_wait_share_one_sync() {
    let disk = Unreliable::new();
    let writer = LogWriter::start(open(&disk).unwrap(), 64).unwrap();
    let go = hold(&writer);
    let (tell, told) = mpsc::channel();
    let mut submitted = 0;
    for n in 0.. {
        let tell = tell.clone();
        let group = [format!("{n}")].iter().collect();
        match writer.submit(group, move |result| tell.send((n, result)).unwrap()) {
            Ok(()) => submitted += 1,
            Err(error) => {
                assert_eq!(error, LogError::Busy);
                break;
            }
        }
    }
    let before = disk.syncs();
    go.send(()).unwrap();
    let end = writer.append(["last"].iter().collect()).await;
    drop(tell);
    let answers: Vec<_> = told.iter().collect();
    assert_eq!(answers.len(), submitted);
    assert!(submitted >= 64);
    let mut position = 1;
    for (expected, (n, result)) in answers.into_iter().enumerate() {
        assert_eq!(n, expected, "answers come in log order");
        assert_eq!(result.unwrap().first, position);
        position += 1;
    }
    if let Ok(end) = end {
        assert_eq!(end.first, position);
    }
    // Rolls sync too: each of the few segments costs two more.
    let rolls = writer.segments().len() as u64;
    assert!(disk.syncs() - before <= 2 * rolls + 2, "{} syncs, {rolls} segments", disk.syncs() - before);
}

#[tokio::test]
async fn a_failure_in_a_batch_fails_what_it_takes_back() {
    let disk = Unreliable::new();
    let writer = LogWriter::start(open(&disk).unwrap(), 64).unwrap();
    let go = hold(&writer);
    let (tell, told) = mpsc::channel();
    for n in 0..4 {
        let tell = tell.clone();
        let group = [format!("{n}")].iter().collect();
        writer.submit(group, move |result| tell.send((n, result)).unwrap()).unwrap();
    }
    drop(tell);
    disk.fail_write(2, 3);
    go.send(()).unwrap();
    let good: Vec<_> = told.iter().filter_map(|(n, result)| Some((n, result.ok()?.first))).collect();
    // The batch of 0, 1 and the failing 2 is taken back; 3 is a batch of its own.
    assert_eq!(good, [(3, 1)]);
    drop(writer);
    assert_eq!(all(&open(&disk.crash(Crash::Forget)).unwrap()), [b"first".to_vec(), b"3".to_vec()]);
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<usize>),
    Sync,
    FailWrite(u32, usize),
    FailSync(u32),
    Room(Option<usize>),
    Crash(Crash),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => prop::collection::vec(0..40_usize, 1..4).prop_map(Step::Append),
        6 => Just(Step::Sync),
        1 => (0..3_u32, 0..150_usize).prop_map(|(after, bytes)| Step::FailWrite(after, bytes)),
        1 => (0..3_u32).prop_map(Step::FailSync),
        1 => prop::option::of(0..300_usize).prop_map(Step::Room),
        2 => prop_oneof![
            Just(Crash::Forget), Just(Crash::Keep), any::<u64>().prop_map(Crash::Tear)
        ].prop_map(Step::Crash),
        1 => Just(Step::Close),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever fails: each acknowledged record is at its position for good, nothing is there that was not written,
    /// and no failure of the machine looks like damage.
    #[test]
    fn acknowledged_records_stay(steps in steps()) {
        let mut disk = Unreliable::new();
        let mut log = Some(open(&disk).unwrap());
        let mut acked: Vec<Vec<u8>> = Vec::new();
        let mut tail: Vec<Vec<u8>> = Vec::new();
        let mut tail_at = 0;
        let mut number = 0_u32;
        for step in steps {
            let writer = log.as_mut().unwrap();
            match step {
                Step::Append(lengths) => {
                    let record = |length| {
                        number += 1;
                        let mut bytes = number.to_le_bytes().to_vec();
                        bytes.resize(4 + length, number as u8);
                        bytes
                    };
                    let records: Vec<_> = lengths.into_iter().map(record).collect();
                    if let Ok(first) = writer.append(&records.iter().collect()) {
                        // A repair or a roll inside may have taken back or acknowledged what was written before.
                        let end = writer.end() as usize - acked.len();
                        acked.extend(tail.drain(..end));
                        tail.truncate(first as usize - acked.len());
                        tail.extend(records);
                        tail_at = first;
                    }
                }
                Step::Sync => {
                    if let Ok(end) = writer.sync() {
                        let new = end as usize - acked.len();
                        acked.extend(tail.drain(..new));
                        tail.clear();
                    }
                }
                Step::FailWrite(after, bytes) => disk.fail_write(after, bytes),
                Step::FailSync(after) => disk.fail_sync(after),
                Step::Room(room) => disk.capacity(room.map(|room| disk.used() + room)),
                Step::Crash(how) => {
                    acked.extend(tail.drain(..writer.end() as usize - acked.len()));
                    disk = disk.crash(how);
                    log = Some(open(&disk).unwrap());
                }
                Step::Close => {
                    acked.extend(tail.drain(..writer.end() as usize - acked.len()));
                    // Failing to close is a crash after which everything written is still there.
                    let _ = log.take().unwrap().close();
                    disk = disk.crash(Crash::Keep);
                    log = Some(open(&disk).unwrap());
                }
            }
            let log = log.as_ref().unwrap();
            let there = all(log);
            assert!(there.len() >= acked.len(), "{} of {} there", there.len(), acked.len());
            assert_eq!(there[..acked.len()], acked);
            let numbers: Vec<_> = there.iter().map(|bytes| bytes[0..4].to_vec()).collect();
            let numbers: Vec<_> =
                numbers.iter().map(|b| u32::from_le_bytes(b.as_slice().try_into().unwrap())).collect();
            assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.iter().all(|n| *n <= number));
            // What survived a crash without having been acknowledged is durable from now on.
            acked = there;
            if log.end() > tail_at {
                tail.clear();
            }
        }
    }
}

/// A fold whose state is saved with its position and replayed from there counts each acknowledged record once.
#[tokio::test]
async fn a_checkpoint_and_the_log_behind_it_count_each_record_once() {
    let store = Memory::new(clock());
    let mut disk = Unreliable::new();
    let mut acked = 0_u64;
    for life in 0..20_u64 {
        let mut log = open(&disk).unwrap();
        let checkpoint = store.load_checkpoint().await.unwrap().unwrap_or_default();
        assert!(checkpoint.position <= log.end());
        let saved =
            checkpoint.parts.get("sum").map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
        let replayed = log.read_from(checkpoint.position).unwrap().map(Result::unwrap).count() as u64;
        let mut sum = saved + replayed;
        assert!(sum >= acked && sum == log.end(), "life {life}: {sum} counted, {acked} acknowledged");
        for n in 0..7 {
            acked = ack(&mut log, &["one"]).unwrap();
            sum += 1;
            if n == life % 7 {
                store.save_checkpoint(acked, vec![("sum".into(), sum.to_le_bytes().to_vec())]).await.unwrap();
                log.drop_before(acked, Micros(i64::MAX)).unwrap();
            }
        }
        log.append(&["never acknowledged"].iter().collect()).unwrap();
        disk = disk.crash(if life % 2 == 0 { Crash::Forget } else { Crash::Tear(life) });
    }
}
