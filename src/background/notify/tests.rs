use super::*;
use crate::{
    approval::{Address, Keys, TargetKind},
    secrets::{Endpoint, Scrub, SecretSlot, SecretSpec, SecretValue, Source},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

/// Answers requests with these, one after the other; gives their heads.
async fn receiver(answers: Vec<&'static str>) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, heads) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"}") {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0, "a whole request");
            }
            sender.send(String::from_utf8(read).unwrap()).unwrap();
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, heads)
}

fn target(url: &str) -> Arc<Target> {
    let spec = SecretSpec::new("key", Source::env("X").unwrap(), None, Scrub::On).unwrap();
    let slot = SecretSlot::new(spec);
    let value = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec();
    slot.publish(SecretValue::new(value, Scrub::On).unwrap(), Timestamp(1));
    Arc::new(Target {
        name: "pager".into(),
        kind: TargetKind::Webhook(Keys(vec![Arc::new(slot)])),
        address: Address::Plain(Endpoint::parse(url).unwrap()),
        events: None,
        routes: None,
        roots: None,
    })
}

/// A notifier of one target, and the letters that it forgets.
fn notifier(url: &str, resolver: Resolver) -> (Notifier, mpsc::UnboundedReceiver<Vec<String>>) {
    let notifier = Notifier::new(Arc::default(), resolver);
    let (sender, forgotten) = mpsc::unbounded_channel();
    notifier.kept_by(Box::new(move |ids| drop(sender.send(ids))));
    let equipped = notifier.equip(&[target(url)]).unwrap();
    notifier.follow(equipped, &Handle::current());
    (notifier, forgotten)
}

fn letters(notifier: &Notifier) -> Vec<Letter> {
    notifier.letters(&[Notice::test("local:0", Timestamp(7))], Timestamp(7)).unwrap()
}

#[tokio::test]
async fn what_has_arrived_is_forgotten() {
    let (address, mut heads) = receiver(vec!["204 No Content"]).await;
    let (notifier, mut forgotten) = notifier(&format!("http://{address}/hook"), Resolver::new([]));
    let posted = letters(&notifier);
    notifier.post(posted.clone());
    let request = heads.recv().await.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("\r\nwebhook-id: {}\r\n", posted[0].id)), "{request}");
    assert!(request.contains("\r\nwebhook-signature: v1,"), "{request}");
    assert_eq!(forgotten.recv().await.unwrap(), [posted[0].id.clone()]);
    let (_, health) = notifier.status().remove(0);
    assert_eq!((health.waiting, health.delivered, health.failed), (0, 1, 0));
    let mut stranger = posted;
    stranger[0].target = "nobody".into();
    notifier.post(stranger.clone());
    assert_eq!(forgotten.recv().await.unwrap(), [stranger[0].id.clone()]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_told_nothing_until_somebody_tries_it() {
    let (address, mut heads) = receiver(vec!["410 Gone", "200 OK", "200 OK"]).await;
    let (notifier, mut forgotten) = notifier(&format!("http://{address}/"), Resolver::new([]));
    notifier.post(letters(&notifier));
    heads.recv().await.unwrap();
    forgotten.recv().await.unwrap();
    let (_, health) = notifier.status().remove(0);
    assert!(health.gone_since.is_some() && health.last_failure.unwrap().1 == Failure::Gone);
    assert!(letters(&notifier).is_empty(), "nothing is written to it");
    assert_eq!(notifier.test("pager", "local:0").await, Some(Ok(())));
    heads.recv().await.unwrap();
    notifier.post(letters(&notifier));
    heads.recv().await.unwrap();
    assert_eq!(notifier.test("nobody", "local:0").await, None);
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let (inside, mut reached) = receiver(vec!["200 OK"]).await;
    let location: &'static str = format!("307 There\r\nlocation: http://{inside}/").leak();
    let (address, _heads) = receiver(vec![location]).await;
    let (notifier, _forgotten) = notifier(&format!("http://{address}/"), Resolver::new([]));
    assert_eq!(notifier.test("pager", "local:0").await, Some(Err(Failure::Refused(307))));
    assert!(reached.try_recv().is_err(), "the other one was left alone");
}

#[tokio::test]
async fn a_name_leads_not_to_the_gateways_own_sockets() {
    let (address, mut reached) = receiver(vec!["200 OK"]).await;
    let url = format!("http://localhost:{}/", address.port());
    let own: Vec<SocketAddr> = vec![address, SocketAddr::new("::1".parse().unwrap(), address.port())];
    let (notifier, _forgotten) = notifier(&url, Resolver::new(own));
    assert_eq!(notifier.test("pager", "local:0").await, Some(Err(Failure::Unreachable)));
    assert!(reached.try_recv().is_err());
}

#[tokio::test]
async fn only_so_much_waits_for_one_target() {
    // Nobody listens there.
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (notifier, mut forgotten) = notifier(&format!("http://{unused}/"), Resolver::new([]));
    let many: Vec<Letter> = (0..NOTIFY_WAITING_MAX).flat_map(|_| letters(&notifier)).collect();
    notifier.post(many);
    assert!(letters(&notifier).is_empty(), "one more is dropped");
    notifier.follow(Vec::new(), &Handle::current());
    assert_eq!(forgotten.recv().await.unwrap().len(), NOTIFY_WAITING_MAX, "nobody is left to tell");
}
