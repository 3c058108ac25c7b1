//! Listeners and the admin interface.

use super::Compiler;
use crate::config::origin::ListenAddr;
use crate::config::snapshot::{AdminPlan, Listener};
use crate::config::tree::at;
use std::net::SocketAddr;

impl Compiler<'_> {
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for (index, listener) in self.document.listen.iter().enumerate() {
            let path = at!["listen", index, "tls"];
            let tls = listener.tls.as_ref().map(|tls| self.server_tls(&path, tls));
            // The address was checked with the document; a failed TLS was noted, which ends the compilation.
            let Some(addr) = ListenAddr::parse(&listener.addr) else { continue };
            listeners.push(Listener { name: listener.name.as_str().into(), addr, tls: tls.flatten() });
        }
        listeners
    }

    pub(super) fn admin(&mut self) -> Option<AdminPlan> {
        let admin = &self.document.admin;
        let tls = match &admin.tls {
            Some(tls) => {
                self.server_tls(&at!["admin", "tls"], tls)?;
                Some(self.server_pem(&at!["admin", "tls"], tls)?)
            }
            None => None,
        };
        let socket = admin.socket.as_ref();
        Some(AdminPlan {
            socket: socket.map_or_else(|| self.host.admin_socket(), |path| self.base.join(path)),
            addr: admin.addr.as_deref().and_then(address),
            tls,
            metrics: admin.metrics.as_deref().and_then(address),
            approvers: admin.roles.approver.clone(),
        })
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    match ListenAddr::parse(text)? {
        ListenAddr::Socket(address) => Some(address),
        ListenAddr::Inherited(_) => None,
    }
}
