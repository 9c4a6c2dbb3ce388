//! The IAM policy generator.

use crate::config::IamPolicy;
use crate::error::Result;
use crate::node::{self, Node};
use crate::resource::Resource;

/// The service account of an IAM policy (KZ-PLG-011).
pub(crate) fn iam_policy(args: &IamPolicy) -> Result<Resource> {
    if args.cloud != "gke" {
        return Err(format!("cloud provider {} not supported yet", args.cloud).into());
    }
    let text = |text: &str| node::scalar(text);
    let account = format!(
        "{}@{}.iam.gserviceaccount.com",
        args.account.name, args.account.project_id
    );
    let mut meta = vec![
        (
            text("annotations"),
            Node::mapping([(text("iam.gke.io/gcp-service-account"), text(&account))]),
        ),
        (text("name"), text(&args.service.name)),
    ];
    if !args.service.namespace.is_empty() {
        meta.push((text("namespace"), text(&args.service.namespace)));
    }
    Ok(Resource::new(Node::mapping([
        (text("apiVersion"), text("v1")),
        (text("kind"), text("ServiceAccount")),
        (text("metadata"), Node::mapping(meta)),
    ])))
}
