//! A caller who takes his time over a handshake.
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// The way over a connection that is open already. What the caller says after his hello waits.
pub struct Late {
    pub at: SocketAddr,
    answered: oneshot::Receiver<()>,
    go: oneshot::Sender<()>,
}

impl Late {
    pub async fn over(open: TcpStream) -> Self {
        let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = relay.local_addr().unwrap();
        let ((answers, answered), (go, gone)) = (oneshot::channel(), oneshot::channel());
        tokio::spawn(async move {
            let (caller, _from) = relay.accept().await?;
            let (mut asks, mut told) = caller.into_split();
            let (mut says, mut hears) = open.into_split();
            let forth = async {
                let mut hello = vec![0; 16 << 10];
                let read = asks.read(&mut hello).await?;
                hears.write_all(&hello[..read]).await?;
                let _ = gone.await;
                let _ = copy(&mut asks, &mut hears).await;
                hears.shutdown().await
            };
            let back = async {
                let mut answer = vec![0; 16 << 10];
                let read = says.read(&mut answer).await.unwrap_or_default();
                let _ = answers.send(());
                told.write_all(&answer[..read]).await?;
                let _ = copy(&mut says, &mut told).await;
                told.shutdown().await
            };
            tokio::try_join!(forth, back)
        });
        Self { at, answered, go }
    }

    /// Returns when the hello was answered; what the caller says then waits for the guard to be dropped.
    pub async fn answered(self) -> oneshot::Sender<()> {
        self.answered.await.unwrap();
        self.go
    }

    /// The way without any wait.
    pub fn at_once(self) -> SocketAddr {
        drop(self.go);
        self.at
    }
}
