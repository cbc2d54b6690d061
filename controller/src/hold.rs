//! The controller's hold on its own rights: there before the first node changes, gone after the last
//! one went back.

use tokio::sync::Mutex;

use crate::observe::Own;
use crate::uninstall::OwnRights;

/// Whether the rights are held; one who asks at a time.
pub(crate) struct Hold {
    rights: OwnRights,
    own: Option<Own>,
    /// What was written last: the watch may be behind.
    written: Mutex<Option<bool>>,
}

impl Hold {
    pub(crate) fn new(rights: OwnRights, own: Option<Own>) -> Self {
        Self {
            rights,
            own,
            written: Mutex::default(),
        }
    }

    /// Whether somebody is deleting the rights.
    pub(crate) fn is_going(&self) -> bool {
        self.own.as_ref().is_some_and(Own::is_going)
    }

    /// Whether the rights are held, as far as it was seen.
    pub(crate) fn is_held(&self) -> bool {
        self.own.as_ref().is_some_and(|own| !own.are_held(false))
    }

    /// Holds the rights, or lets go of them, unless it is so already.
    ///
    /// # Errors
    ///
    /// They could not be written.
    pub(crate) async fn set(&self, held: bool) -> Result<(), kube::Error> {
        let Some(own) = &self.own else {
            return Ok(());
        };
        let mut written = self.written.lock().await;
        if *written != Some(held) || !own.are_held(held) {
            *written = None;
            self.rights.hold(held).await?;
            *written = Some(held);
        }
        Ok(())
    }
}
