//! What plain HTTP is answered where the service has no say.

use super::HttpReply;

const TEXT: &str = "text/plain; charset=utf-8";

impl HttpReply {
    /// Nothing came of the request.
    pub(super) fn none() -> Self {
        Self::whole(500, TEXT, "no answer\n")
    }

    pub(super) fn too_long() -> Self {
        Self::whole(413, TEXT, "request body is too large\n")
    }

    /// Of all requests that are under way.
    pub(super) fn too_many() -> Self {
        Self::whole(503, TEXT, "too many bytes of requests are under way\n")
    }

    pub(super) fn too_slow() -> Self {
        Self::whole(408, TEXT, "request body is too slow\n")
    }

    pub(super) fn unreadable() -> Self {
        Self::whole(400, TEXT, "request body is unreadable\n")
    }
}
