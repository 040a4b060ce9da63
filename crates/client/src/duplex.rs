//! A stream of messages in both directions.

use std::marker::PhantomData;

use api::Message;
use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::{RecvStream, SendStream};
use http::HeaderMap;

use crate::failure::status;
use crate::{Failure, frame};

/// Whether the answer's head has arrived.
enum Answer {
    Awaited(ResponseFuture),
    Open(HeaderMap, RecvStream),
    Ended,
}

/// One call with many messages each way; dropped, it is cancelled.
pub struct Duplex<A> {
    requests: SendStream<Bytes>,
    answer: Answer,
    buffer: BytesMut,
    kind: PhantomData<fn() -> A>,
}

impl<A: Message + Default> Duplex<A> {
    pub(crate) fn new(answer: ResponseFuture, requests: SendStream<Bytes>) -> Self {
        let answer = Answer::Awaited(answer);
        Self { requests, answer, buffer: BytesMut::new(), kind: PhantomData }
    }

    /// Queues a message; flow control delays it, never blocks the caller.
    ///
    /// # Errors
    /// The stream is closed.
    pub fn send(&mut self, message: &impl Message) -> Result<(), Failure> {
        self.requests.send_data(frame::encode(message), false).map_err(broken)
    }

    /// Says that no more requests follow.
    ///
    /// # Errors
    /// The stream is closed.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.requests.send_data(Bytes::new(), true).map_err(broken)
    }

    /// The next answer; `None` once the server ended the stream with status OK.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// The status the stream ended with, or how it broke. After that it has ended.
    pub async fn next(&mut self) -> Result<Option<A>, Failure> {
        let result = self.advance().await;
        if !matches!(result, Ok(Some(_))) {
            self.answer = Answer::Ended;
        }
        result
    }

    async fn advance(&mut self) -> Result<Option<A>, Failure> {
        loop {
            if let Some(message) = frame::take(&mut self.buffer)? {
                return frame::decode(message).map(Some);
            }
            match &mut self.answer {
                Answer::Ended => return Ok(None),
                Answer::Awaited(answer) => {
                    let (head, stream) = answer.await.map_err(broken)?.into_parts();
                    if head.status != http::StatusCode::OK {
                        let code = head.status.as_u16();
                        return Err(Failure::Broken(format!("HTTP status {code}")));
                    }
                    self.answer = Answer::Open(head.headers, stream);
                }
                Answer::Open(headers, stream) => match stream.data().await {
                    Some(chunk) => {
                        let chunk = chunk.map_err(broken)?;
                        let _ = stream.flow_control().release_capacity(chunk.len());
                        self.buffer.extend_from_slice(&chunk);
                    }
                    None => {
                        let trailers = stream.trailers().await.map_err(broken)?;
                        status(trailers.as_ref().unwrap_or(headers))?;
                        return Ok(None);
                    }
                },
            }
        }
    }
}

fn broken(why: h2::Error) -> Failure {
    Failure::Broken(why.to_string())
}
