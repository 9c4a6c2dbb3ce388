//! Reasons: why a condition has its status or an event was emitted, as one CamelCase word of a closed set.

/// A reason of conditions and events. Each kind has an enum of its own, which [`reasons!`](crate::reasons) declares; the
/// frame's are constants in [`conditions`](crate::conditions).
pub trait Reason: Copy {
    /// The word, as used in the API.
    fn as_str(&self) -> &'static str;
}

impl Reason for &'static str {
    fn as_str(&self) -> &'static str {
        self
    }
}

/// Declares the closed set of a kind's reasons: an enum whose variants are the words.
///
/// ```
/// use flux_runtime::reason::Reason as _;
///
/// flux_runtime::reasons! {
///     /// The reasons of a GitRepository.
///     pub enum GitReason {
///         /// The remote could not be read.
///         GitOperationFailed,
///         /// The URL cannot be used.
///         URLInvalid,
///     }
/// }
///
/// assert_eq!(GitReason::URLInvalid.as_str(), "URLInvalid");
/// assert_eq!(GitReason::find("GitOperationFailed"), Some(GitReason::GitOperationFailed));
/// assert_eq!(GitReason::find("Other"), None);
/// ```
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* $visibility:vis enum $name:ident { $($(#[$variant_meta:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $visibility enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// Every reason of the kind.
            #[allow(dead_code, reason = "a kind may never need the whole set")]
            $visibility const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The reason with this word, if the set has it.
            #[allow(dead_code, reason = "a kind may never read its reasons back")]
            $visibility fn find(word: &str) -> Option<Self> {
                let word_of = <Self as $crate::reason::Reason>::as_str;
                Self::ALL.iter().copied().find(|reason| word_of(reason) == word)
            }
        }

        impl $crate::reason::Reason for $name {
            fn as_str(&self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}
