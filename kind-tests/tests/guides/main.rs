//! What the pages of `docs/how-to` tell users to apply, applied to clusters with all servers that they name.
//!
//! The blocks are read out of the pages and applied by kubectl as they are written, addresses included: a proxy leads the
//! controllers to servers on loopback. Kinds whose older versions tutorials still show are applied in these.

mod applications;
mod artifacts;
mod charts;
mod images;
mod notifications;
mod pages;
mod world;
