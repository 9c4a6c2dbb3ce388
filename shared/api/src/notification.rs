//! `notification.toolkit.fluxcd.io`: outgoing notifications and incoming webhooks.

mod alert;
mod provider;
mod receiver;
mod reference;

pub use alert::*;
pub use provider::*;
pub use receiver::*;
pub use reference::*;
