use super::on_both;
use crate::runtime::{Either, mailbox, race, sleep};
use std::{io::ErrorKind, time::Duration};

#[test]
fn messages_of_several_threads_arrive_in_order() {
    on_both(|| async {
        let (sender, mailbox) = mailbox::<(usize, u32)>(64).unwrap();
        let mut inbox = mailbox.open().unwrap();
        let (threads, each) = (3, 20_000);
        let senders: Vec<_> = (0..threads)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for number in 0..each {
                        let mut message = (thread, number);
                        while let Err(refused) = sender.send(message) {
                            message = refused;
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut next = vec![0; threads];
        let (mut batch, mut batches) = (Vec::new(), 0);
        while next.iter().sum::<u32>() < each * threads as u32 {
            match race(inbox.recv(&mut batch), sleep(Duration::from_micros(20))).await {
                Either::First(received) => received.unwrap(),
                Either::Second(()) => continue,
            }
            batches += 1;
            for (thread, number) in batch.drain(..) {
                assert_eq!(number, next[thread], "in order, none twice, none lost");
                next[thread] += 1;
            }
        }
        assert!(sender.signals() <= batches + 1, "{} wake-ups for {batches} batches", sender.signals());
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        drop(sender);
        assert_eq!(inbox.recv(&mut batch).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(inbox.recv(&mut batch).await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_batch_wakes_once_and_keeps_what_does_not_fit() {
    on_both(|| async {
        let (sender, mailbox) = mailbox(8).unwrap();
        let mut batch: Vec<u32> = (0..12).collect();
        sender.send_batch(&mut batch);
        assert_eq!(batch, [8, 9, 10, 11]);
        assert_eq!(sender.signals(), 1);
        assert_eq!(sender.send(99), Err(99), "full");
        let mut inbox = mailbox.open().unwrap();
        let mut received = Vec::new();
        inbox.recv(&mut received).await.unwrap();
        assert_eq!(received, (0..8).collect::<Vec<_>>());
        sender.send_batch(&mut batch);
        inbox.recv(&mut received).await.unwrap();
        assert_eq!(received.len(), 12);
        assert_eq!(sender.signals(), 1, "the first signal still stands");
        drop(inbox);
        assert_eq!(sender.send(1), Err(1), "the inbox is gone");
    });
}
