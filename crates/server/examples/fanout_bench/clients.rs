//! Many streams in one process, each with as little as possible.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use crate::now;

/// What all streams report to.
struct Board {
    /// When each stream got the last change.
    at: Vec<AtomicI64>,
    changed: AtomicUsize,
    served: AtomicUsize,
    done: mpsc::UnboundedSender<What>,
}

enum What {
    AllServed,
    AllChanged,
    Cut,
}

impl Board {
    fn count(&self, counter: &AtomicUsize, what: What) {
        if counter.fetch_add(1, Ordering::AcqRel) + 1 == self.at.len() {
            counter.store(0, Ordering::Release);
            let _ = self.done.send(what);
        }
    }
}

/// Opens the streams; prints a line when all are served, and one for each change that all have: when half, 99 % and
/// all had it. `cut` on standard input closes and reopens all of them.
pub(crate) async fn run(address: &str, key: &str, streams: usize) {
    let (done, mut news) = mpsc::unbounded_channel();
    let board = Arc::new(Board {
        at: (0..streams).map(|_| AtomicI64::new(0)).collect(),
        changed: AtomicUsize::new(0),
        served: AtomicUsize::new(0),
        done,
    });
    let request = format!("GET /all HTTP/1.1\r\nHost: ensign\r\nAuthorization: {key}\r\n\r\n");
    let (request, gate): (Arc<str>, _) = (request.into(), Arc::new(Semaphore::new(512)));
    let mut tasks = tokio::task::JoinSet::new();
    let open = |tasks: &mut tokio::task::JoinSet<()>| {
        for number in 0..streams {
            let (address, request) = (address.to_owned(), Arc::clone(&request));
            let (board, gate) = (Arc::clone(&board), Arc::clone(&gate));
            tasks.spawn(async move {
                loop {
                    follow(number, &address, &request, &board, &gate).await;
                }
            });
        }
    };
    open(&mut tasks);
    let cut = board.done.clone();
    std::thread::Builder::new()
        .name("commands".to_owned())
        .spawn(move || {
            for line in std::io::stdin().lines() {
                if line.is_ok_and(|line| line == "cut") {
                    let _ = cut.send(What::Cut);
                }
            }
        })
        .unwrap();
    while let Some(what) = news.recv().await {
        match what {
            What::Cut => {
                // All at once, and nothing that a stream would have to look at with every change.
                tasks.shutdown().await;
                open(&mut tasks);
            }
            What::AllServed => println!("{streams}"),
            What::AllChanged => {
                let mut at: Vec<i64> = board.at.iter().map(|at| at.load(Ordering::Acquire)).collect();
                at.sort_unstable();
                let percent = |share: usize| at[(at.len() * share).div_ceil(100) - 1];
                println!("{} {} {}", percent(50), percent(99), percent(100));
            }
        }
    }
}

/// One stream until it ends.
async fn follow(number: usize, address: &str, request: &str, board: &Board, gate: &Semaphore) {
    // Only so many knock at the same time, as a listener's queue holds only so many.
    let knock = gate.acquire().await.unwrap();
    let Ok(mut socket) = TcpStream::connect(address).await else { return };
    if socket.write_all(request.as_bytes()).await.is_err() {
        return;
    }
    let mut bytes = [0_u8; 8192];
    let mut served = false;
    let mut knock = Some(knock);
    while let Ok(read @ 1..) = socket.read(&mut bytes).await {
        let has = |what: &[u8]| bytes[..read].windows(what.len()).any(|window| window == what);
        if !served && has(b"event: put") {
            served = true;
            drop(knock.take());
            board.count(&board.served, What::AllServed);
        } else if served && (has(b"event: patch") || has(b"event: delete")) {
            board.at[number].store(now(), Ordering::Release);
            board.count(&board.changed, What::AllChanged);
        }
    }
}
