//! Everything around the gateway: the issuer and the upstreams, on a thread of their own.

use super::issuer::{AGENT_CLIENT, DevIssuer, GATEWAY_CLIENT, key::random_text};
use super::{Error, recorder, serve, upstream};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use tokio::sync::oneshot;

/// Running servers, and the keys that the gateway needs for them. They end when this is dropped.
pub(super) struct World {
    pub issuer: Arc<DevIssuer>,
    pub keys: Keys,
    pub addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Credentials of the gateway.
#[derive(Clone)]
pub(super) struct Keys {
    pub anthropic: String,
    pub openai: String,
    pub warehouse: String,
}

/// Where the upstreams are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub anthropic: SocketAddr,
    pub openai: SocketAddr,
    pub customers: SocketAddr,
    pub warehouse: SocketAddr,
    pub recorder: SocketAddr,
}

impl World {
    /// Starts all servers.
    ///
    /// # Errors
    /// The system gives no port, no thread or no random bytes.
    pub(super) fn start() -> Result<World, Error> {
        let key = |prefix: &str| Ok::<_, Error>(format!("{prefix}-{}", random_text()?));
        let keys =
            Keys { anthropic: key("sk-ant-demo")?, openai: key("sk-demo")?, warehouse: key("warehouse")? };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (issuer, addresses) = runtime.block_on(servers(&keys))?;
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("demo".into());
        // The servers run as long as somebody waits here; both ways to hear of the end mean the same.
        let thread = thread.spawn(move || drop(runtime.block_on(stopped)))?;
        Ok(World { issuer, keys, addresses, stop: Some(stop), thread: Some(thread) })
    }

    /// The password of the agent's client.
    pub(super) fn agent_secret(&self) -> &str {
        self.issuer.client_secret(AGENT_CLIENT).unwrap_or_default()
    }

    /// The password of the gateway's client.
    pub(super) fn gateway_secret(&self) -> &str {
        self.issuer.client_secret(GATEWAY_CLIENT).unwrap_or_default()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there was said already.
            let _ = thread.join();
        }
    }
}

async fn servers(keys: &Keys) -> Result<(Arc<DevIssuer>, Addresses), Error> {
    let listener = serve::bind().await?;
    let issuer = Arc::new(DevIssuer::new(format!("http://{}", listener.local_addr()?))?);
    serve::serve(listener, issuer.clone().router())?;
    let start = async |router| -> io::Result<SocketAddr> { serve::serve(serve::bind().await?, router) };
    let addresses = Addresses {
        anthropic: start(upstream::anthropic(&keys.anthropic)).await?,
        openai: start(upstream::openai(&keys.openai)).await?,
        customers: start(upstream::customers(issuer.clone())).await?,
        warehouse: start(upstream::warehouse(&keys.warehouse)).await?,
        recorder: recorder::serve(serve::bind().await?)?,
    };
    Ok((issuer, addresses))
}
