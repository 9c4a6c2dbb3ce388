//! `notification.toolkit.fluxcd.io`: events out, webhooks in.

mod alert;
mod provider;
mod receiver;
mod reference;

pub use alert::*;
pub use provider::*;
pub use receiver::*;
pub use reference::*;
