//! What one stream may have waiting here, however much its client asks for.

use super::client::Client;
use super::fake::FakeDoor;
use super::{create, with_all};
use crate::bell::Bell;
use crate::cut::{Cut, Cuts};
use crate::lease::KeepAlives;
use crate::watch::Hub;
use api::Message;
use api::etcdserverpb as pb;
use base::limits::{ANSWERS_MAX, RENEW_BATCH_MAX};
use bytes::Bytes;
use later::Asker;
use net::{Call, Form, KeepAlive, Limits, Metadata, Requests, Source, Status, Turn};
use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A client that always has one more request, and reads nothing.
struct Endless {
    request: Bytes,
    taken: Rc<Cell<usize>>,
}

impl Requests for Endless {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Status>>> {
        self.taken.set(self.taken.get() + 1);
        Poll::Ready(Some(Ok(self.request.clone())))
    }
}

fn endless(request: &impl Message) -> (Box<Endless>, Rc<Cell<usize>>) {
    let taken = Rc::<Cell<usize>>::default();
    let request = request.encode_to_vec().into();
    (Box::new(Endless { request, taken: Rc::clone(&taken) }), taken)
}

fn cut(door: &Rc<FakeDoor>) -> (Cut, Rc<Bell>) {
    let bell = Rc::<Bell>::default();
    let cut = Rc::<Cuts>::default().cut(Metadata::default(), Rc::clone(door) as _, &bell);
    (cut, bell)
}

/// One turn, which has a message.
fn turn(source: &mut impl Source) {
    let turn = source.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(turn, Poll::Ready(Turn::Message)));
}

#[test]
fn requests_of_a_watch_whose_answers_nobody_reads_are_left_unread() {
    let door = FakeDoor::new();
    let (requests, taken) = endless(&create(pb::WatchCreateRequest::default()));
    let (cut, bell) = cut(&door);
    let hub = Hub::new(Rc::clone(&door) as _, 1 << 20, super::super::permits::Permits::new(1));
    let mut stream = hub.open(Form::grpc(Asker::nobody()), requests, cut, &bell);
    turn(&mut stream);
    assert_eq!(taken.get(), ANSWERS_MAX);
    turn(&mut stream);
    assert_eq!(taken.get(), ANSWERS_MAX, "still nobody has read one");
    assert!(stream.make().is_some());
    turn(&mut stream);
    assert_eq!(taken.get(), ANSWERS_MAX + 1);
}

#[test]
fn keep_alives_of_a_stream_are_taken_a_batch_at_a_time() {
    let door = FakeDoor::new();
    let (requests, taken) = endless(&pb::LeaseKeepAliveRequest { id: 7 });
    let metadata = Metadata::default();
    let call = Call { method: 0, metadata, form: Form::grpc(Asker::nobody()) };
    let mut stream = KeepAlives::new(Rc::clone(&door) as _, call, requests, cut(&door).0);
    turn(&mut stream);
    turn(&mut stream);
    assert_eq!(taken.get(), RENEW_BATCH_MAX);
}

#[test]
fn the_watcher_too_many_is_refused_and_the_others_of_its_stream_stay() {
    with_all(Limits::default(), KeepAlive::default(), |stage| async move {
        stage.front.hub.set_watchers_max(2);
        let mut client = Client::connect(stage.address).await;
        let mut watch = client.watch().await;
        for key in ["a", "b", "c"] {
            watch.send(&create(pb::WatchCreateRequest { key: key.into(), ..Default::default() }));
        }
        assert!(!watch.next().await.canceled && !watch.next().await.canceled);
        let refused = watch.next().await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1);
        assert_eq!(refused.cancel_reason, "etcdserver: too many requests");
        let _: pb::PutResponse = client.call("KV/Put", &super::put("b", "v")).await.unwrap();
        assert_eq!(watch.next().await.events.len(), 1);
        let mut other = client.watch().await;
        other.send(&create(pb::WatchCreateRequest { key: "c".into(), ..Default::default() }));
        assert!(!other.next().await.canceled, "the bound is that of a stream");
        // All of them together have one too, and who leaves makes room.
        stage.front.hub.set_all_watchers_max(3);
        other.send(&create(pb::WatchCreateRequest { key: "d".into(), ..Default::default() }));
        let refused = other.next().await;
        assert!(refused.created && refused.canceled && refused.watch_id == -1);
        assert_eq!(refused.cancel_reason, "etcdserver: too many requests");
        drop(watch);
        super::until(|| stage.front.hub.noted() == 1).await;
        other.send(&create(pb::WatchCreateRequest { key: "d".into(), ..Default::default() }));
        assert!(!other.next().await.canceled);
    });
}
