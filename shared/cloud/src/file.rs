//! Small files that the environment names: tokens, certificates, configurations.

use std::io::{Error, ErrorKind};

use tokio::io::AsyncReadExt as _;

/// The largest file that is read, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Reads a file of at most a mebibyte. An error comes with what the file is and its path.
pub(crate) async fn read(
    what: &'static str,
    path: &str,
) -> Result<Vec<u8>, (&'static str, String, Error)> {
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        let mut content = Vec::new();
        file.take(MAX_FILE + 1).read_to_end(&mut content).await?;
        if content.len() as u64 > MAX_FILE {
            return Err(Error::from(ErrorKind::FileTooLarge));
        }
        Ok(content)
    };
    read.await.map_err(|error| (what, path.to_owned(), error))
}
