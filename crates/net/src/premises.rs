//! What all client connections of a member share.

use super::inflow::Total;
use super::limits::Limits;
use super::outflow::Everybody;
use super::pulse::Pulse;
use super::service::Service;
use super::vitals::KeepAlive;
use std::rc::Rc;
use tokio::sync::watch;

/// The side of a server that its connections see.
pub(super) struct Premises {
    pub(super) service: Rc<dyn Service>,
    pub(super) limits: Limits,
    pub(super) keep_alive: KeepAlive,
    pub(super) unsent: Rc<Everybody>,
    pub(super) requests: Rc<Total>,
    pub(super) pulse: Rc<Pulse>,
    stopping: watch::Sender<bool>,
}

impl Premises {
    pub(super) fn new(service: Rc<dyn Service>, limits: Limits, keep_alive: KeepAlive) -> Self {
        Self {
            service,
            limits,
            keep_alive,
            unsent: Rc::default(),
            requests: Rc::default(),
            pulse: Pulse::new(),
            stopping: watch::Sender::new(false),
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    pub(super) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    pub(super) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
}
