//! One connection of a remote forward: the server has it, and we connect it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::client::{ChannelOpenHandle, Msg};
use russh::{Channel, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf};
use tokio_util::sync::CancellationToken;
use tunneld_core::config::{Destination, ForwardSpec, Goal};
use tunneld_core::refusal::Refusal;
use tunneld_core::socks::Outcome;

use super::gate::{Gate, No, connect_here, gone, limits, stopped};
use super::handshake::{self, Asked};
use super::{Context, Peer};
use crate::opener::Opener;
use crate::pump::{self, Cargo, End};
use crate::wire::Wire;

/// How long a place on this side may take to answer.
const CONNECT_PATIENCE: Duration = Duration::from_secs(15);
/// How much a client may send before it is connected: as much as may wait for one that is.
const MAX_EARLY: usize = 4 << 20;

type Halves = (ChannelReadHalf, ChannelWriteHalf<Msg>);

/// One connection.
pub(crate) struct Arrival {
    pub(crate) spec: Arc<ForwardSpec>,
    pub(crate) session: Opener,
    pub(crate) gate: Gate,
    pub(crate) context: Context,
    pub(crate) abort: CancellationToken,
    pub(crate) peer: Peer,
}

impl Arrival {
    pub(crate) async fn run(self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        match self.spec.goal() {
            Goal::To(to) => self.fixed(channel, reply, to).await,
            Goal::Asked => self.asked(channel, reply).await,
        }
    }

    /// The client is connected only once its target is.
    async fn fixed(&self, channel: Channel<Msg>, reply: ChannelOpenHandle, to: &Destination) {
        match self.connect(to).await {
            Ok(socket) => {
                self.gate.note_connected();
                reply.accept().await;
                let cargo = self.cargo(socket, channel.split());
                self.carry(cargo, to).await;
            }
            Err(no) => {
                // Known here before the server makes it known over there.
                self.gate.refuse(&self.peer, &no);
                reply.reject(ChannelOpenFailure::ConnectFailed).await;
            }
        }
    }

    /// The client says where to, and is told what became of it, in its own protocol.
    async fn asked(&self, channel: Channel<Msg>, reply: ChannelOpenHandle) {
        reply.accept().await;
        let (mut read, write) = channel.split();
        let asked = tokio::select! {
            asked = handshake::on_channel(&mut read, &write) => asked,
            () = self.abort.cancelled() => Err(stopped()),
        };
        let Asked { request, mut early } = match asked {
            Ok(asked) => asked,
            Err(no) => {
                self.gate.refuse(&self.peer, &no);
                return self.session.close_halves(read, write);
            }
        };
        let to = &request.destination;
        let mut eof = false;
        let listening = self.connect_listening(to, &mut read, &mut early, &mut eof);
        let connected = listening.await;
        let outcome = match &connected {
            Ok(_) => Outcome::Connected,
            Err((_, reason)) => handshake::outcome_of_reason(&reason.to_lowercase()),
        };
        let told = handshake::tell_channel(&write, &request.reply(outcome)).await;
        let socket = match connected {
            Ok(socket) if told => socket,
            refused => {
                let no = refused.err().unwrap_or_else(gone);
                self.gate.refuse(&self.peer, &no);
                return self.session.close_halves(read, write);
            }
        };
        let cargo = Cargo {
            early_down: early,
            early_eof: eof,
            ..self.cargo(socket, (read, write))
        };
        self.carry(cargo, to).await;
    }

    fn cargo(&self, socket: Wire, halves: Halves) -> Cargo<'_> {
        let limits = limits(&self.spec, &self.context.limits.borrow());
        let counters = &self.gate.counters;
        let abort = self.abort.clone();
        Cargo::new(socket, halves, &self.session, counters, limits, abort)
    }

    async fn carry(&self, cargo: Cargo<'_>, to: &Destination) {
        self.gate.log.opened(&self.peer, &to.to_string());
        let end = pump::carry(cargo).await;
        if end == End::Stalled {
            let after = self.context.limits.borrow().stall_timeout;
            self.gate.stalled(&self.peer, after);
        }
        self.gate.log.closed(&self.peer, end);
    }

    /// Connects, and takes in what the client sends meanwhile: the whole session would wait for it.
    async fn connect_listening(
        &self,
        to: &Destination,
        read: &mut ChannelReadHalf,
        early: &mut Bytes,
        eof: &mut bool,
    ) -> Result<Wire, No> {
        let mut sent = BytesMut::from(&early[..]);
        let connect = self.connect(to);
        tokio::pin!(connect);
        let connected = loop {
            tokio::select! {
                connected = &mut connect => break connected,
                message = read.wait() => match message {
                    Some(ChannelMsg::Data { data }) => sent.extend_from_slice(&data),
                    Some(ChannelMsg::Eof) => *eof = true,
                    Some(ChannelMsg::Close) | None => {
                        return Err(gone());
                    }
                    Some(_) => {}
                },
            }
            if sent.len() > MAX_EARLY {
                let reason = "the client sent too much before it was connected";
                return Err((Refusal::Handshake, reason.to_owned()));
            }
        };
        *early = sent.freeze();
        connected
    }

    async fn connect(&self, to: &Destination) -> Result<Wire, No> {
        tokio::select! {
            connected = connect_here(to) => connected,
            () = tokio::time::sleep(CONNECT_PATIENCE) => {
                let seconds = CONNECT_PATIENCE.as_secs();
                let reason = format!("cannot connect to {to}: timed out after {seconds}s");
                Err((Refusal::Target, reason))
            }
            () = self.abort.cancelled() => Err(stopped()),
        }
    }
}
