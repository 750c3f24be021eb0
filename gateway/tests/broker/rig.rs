//! A door with a scripted broker before it, and the test behind it.

use std::sync::Arc;
use std::time::Duration;

use proto::message::{Presence, Status};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tributary_gateway::ingest::broker::{Broker, Counters, Settings};
use tributary_gateway::ingest::{Arrival, ConnectionId, Event, Link, Ticket, Verdict};

use crate::peer::PATIENCE;

pub(crate) struct Rig {
    pub(crate) listener: TcpListener,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stop: CancellationToken,
    pub(crate) door: JoinHandle<()>,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_with(64, |_| {}).await
    }

    /// A door whose pipeline has room for so many events, with settings that `change` changes.
    pub(crate) async fn start_with(room: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut settings = Settings::new("127.0.0.1", listener.local_addr().unwrap().port(), None);
        settings.reconnect_min = Duration::from_millis(1);
        settings.reconnect_max = Duration::from_millis(20);
        change(&mut settings);
        let (intake, events) = mpsc::channel(room);
        let broker = Broker::new(settings, intake);
        let (counters, stop) = (broker.counters(), CancellationToken::new());
        let door = tokio::spawn(broker.run(stop.clone()));
        Self { listener, events, counters, stop, door }
    }

    pub(crate) async fn event(&mut self) -> Event {
        timeout(PATIENCE, self.events.recv()).await.expect("an event within the deadline").expect("the door is there")
    }

    /// The next publish, past who came and went.
    pub(crate) async fn arrival(&mut self) -> Arrival {
        loop {
            if let Event::Arrived(arrival) = self.event().await {
                return arrival;
            }
        }
    }

    /// The same, settled.
    pub(crate) async fn settled(&mut self) -> Arrival {
        let mut arrival = self.arrival().await;
        std::mem::replace(&mut arrival.ticket, Ticket::unasked()).settle(Verdict::Settled);
        arrival
    }

    pub(crate) async fn opened(&mut self) -> Link {
        match self.event().await {
            Event::Opened(link) => link,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn closed(&mut self) -> ConnectionId {
        match self.event().await {
            Event::Closed { connection, .. } => connection,
            other => panic!("{other:?}"),
        }
    }

    /// Ends the door, and answers whether it ended in good order.
    pub(crate) async fn end(self) -> bool {
        self.stop.cancel();
        timeout(PATIENCE, self.door).await.is_ok_and(|ended| ended.is_ok())
    }
}

/// Waits until `count` is `wanted`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let patience = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, patience).await.unwrap_or_else(|_| panic!("waited for {what}, in vain"));
}

pub(crate) fn status(presence: Presence) -> Vec<u8> {
    Status { presence, at: None, agent: "1".to_owned() }.encode()
}
