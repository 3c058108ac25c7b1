//! The configuration as operators see and change it.

mod connection;
mod trial;
mod view;
mod write;

use super::Core;
use crate::admin::{
    Candidate, ConfigFile, Configured, ConfiguredIdentities, ConfiguredPolicies, ConfiguredSecrets,
    Connection, Edit, EditFault, Edited, Editor as Interface, Folder, ReplayFault, Replayed, Trial, Tried,
    Work,
};
use crate::archive::{Archive, Exchange};
use std::sync::Arc;

/// The configuration of a running gateway.
pub struct Editor {
    core: Arc<Core>,
}

impl Editor {
    /// That of `core`.
    pub fn new(core: Arc<Core>) -> Editor {
        Editor { core }
    }
}

impl Interface for Editor {
    fn configured(&self) -> Configured {
        view::configured(&self.core)
    }

    fn policies(&self) -> ConfiguredPolicies {
        view::policies(&self.core)
    }

    fn identities(&self) -> ConfiguredIdentities {
        view::identities(&self.core)
    }

    fn secrets(&self) -> ConfiguredSecrets {
        view::secrets(&self.core)
    }

    fn files(&self, folder: Folder) -> Work<'_, Result<Vec<ConfigFile>, EditFault>> {
        let core = self.core.clone();
        Box::pin(blocking(move || write::list(&core, folder)))
    }

    fn file(&self, folder: Folder, name: String) -> Work<'_, Result<ConfigFile, EditFault>> {
        let core = self.core.clone();
        Box::pin(blocking(move || write::show(&core, folder, &write::name(&name)?)))
    }

    fn edit(&self, author: String, edit: Edit) -> Work<'_, Result<Edited, EditFault>> {
        Box::pin(write::edit(self.core.clone(), author, edit))
    }

    fn connection(&self, connection: &Connection) -> Result<String, EditFault> {
        connection::render(connection, &self.core.snapshot.load().document)
    }

    fn try_out(&self, trial: &Trial) -> Result<Tried, EditFault> {
        trial::try_out(&self.core, trial)
    }

    fn replay(
        &self,
        candidate: &Candidate,
        archive: &Archive,
        exchanges: &[Exchange],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Replayed, ReplayFault> {
        trial::replay(&self.core, candidate, archive, exchanges, goes_on)
    }
}

/// Runs what reads files where that disturbs nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EditFault> + Send + 'static,
) -> Result<T, EditFault> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|_| Err(EditFault::Failed("the gateway failed at this".to_owned())))
}
