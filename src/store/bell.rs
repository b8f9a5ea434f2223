//! A doorbell: says that there may be news, carries none. What is new is read from the store, so a
//! ring that is lost, doubled or made up does no harm.
use tokio::sync::watch;

/// The button.
#[derive(Clone, Debug)]
pub struct Bell(watch::Sender<()>);

/// The ear at the door. Rings that come while nobody listens are heard as one.
#[derive(Clone, Debug)]
pub struct Ringing(watch::Receiver<()>);

impl Bell {
    pub fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    pub fn ring(&self) {
        self.0.send_replace(());
    }

    pub fn listen(&self) -> Ringing {
        Ringing(self.0.subscribe())
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}

impl Ringing {
    /// Waits for the next ring; `false` when the store is gone.
    pub async fn rung(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}
