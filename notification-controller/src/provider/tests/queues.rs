//! Messages in the queues of clouds.

use super::*;

#[tokio::test]
async fn pub_sub_gets_the_event_as_a_message() {
    use base64::Engine as _;
    let own: [(&str, &[u8]); 1] = [("headers", b"a: b\n")];
    let spec = json!({"address": "project", "channel": "topic"});
    let at = settings("googlepubsub", &spec, &own).with_cloud_token("t0ken".into());
    let sent = calls(&at, &event("info")).await.remove(0);
    // NC-GOOGLEPUBSUB-002
    assert_eq!(
        sent.request.address,
        "https://pubsub.googleapis.com/v1/projects/project/topics/topic:publish"
    );
    assert_eq!(header(&sent, "authorization"), "Bearer t0ken");
    let data = base64::engine::general_purpose::STANDARD.encode(event("info").to_json());
    assert_eq!(
        body(&sent),
        json!({"messages": [{"data": data, "attributes": {"a": "b"}}]})
    );
    assert_eq!(sent.context, "error publishing to GCP Pub/Sub topic: ");
    // NC-GOOGLEPUBSUB-001
    let error = refusal("googlepubsub", &json!({"channel": "topic"}), &[]).await;
    assert_eq!(error, "GCP project ID cannot be empty");
    let error = refusal("googlepubsub", &json!({"address": "project"}), &[]).await;
    assert_eq!(error, "GCP Pub/Sub topic ID cannot be empty");
}

#[tokio::test]
async fn event_hubs_get_the_event_by_token_or_by_key() {
    // NC-AZUREEVENTHUB-003
    for (namespace, host) in [
        ("ns", "ns.servicebus.windows.net"),
        (
            "ns.servicebus.usgovcloudapi.net",
            "ns.servicebus.usgovcloudapi.net",
        ),
    ] {
        let spec = json!({"address": "hub", "channel": namespace});
        let sent = call("azureeventhub", &spec, &[("token", b"jwt")], &event("info")).await;
        // NC-AZUREEVENTHUB-004
        assert_eq!(header(&sent, "authorization"), "Bearer jwt");
        let address = format!("https://{host}/hub/messages?api-version=2014-01");
        assert_eq!(sent.request.address, address);
        assert_eq!(sent.request.body, event("info").to_json());
    }
    // NC-AZUREEVENTHUB-005
    let spec = json!({"address": "hub", "channel": "ns"});
    let at = settings("azureeventhub", &spec, &[]).with_cloud_token("cloud".into());
    let sent = calls(&at, &event("info")).await.remove(0);
    assert_eq!(header(&sent, "authorization"), "Bearer cloud");
    // NC-AZUREEVENTHUB-002
    let key = "Endpoint=sb://ns.servicebus.windows.net/;SharedAccessKeyName=root;SharedAccessKey=c2VjcmV0;EntityPath=hub";
    let sas = json!({"address": key});
    let sent = call("azureeventhub", &sas, &[], &event("info")).await;
    assert_eq!(
        sent.request.address,
        "https://ns.servicebus.windows.net/hub/messages?api-version=2014-01"
    );
    let signature = header(&sent, "authorization");
    let begin = "SharedAccessSignature sr=https%3A%2F%2Fns.servicebus.windows.net%2Fhub&sig=";
    assert!(
        signature.starts_with(begin) && signature.ends_with("&skn=root"),
        "{signature}"
    );
    for (spec, secret, error) in [
        (
            sas.clone(),
            &[("token", &b"jwt"[..])][..],
            "invalid authentication options: jwt token and SAS authentication cannot be set at the same time",
        ),
        (
            json!({"address": key, "serviceAccountName": "x"}),
            &[],
            "invalid authentication options: serviceAccountName and SAS authentication cannot be set at the same time",
        ),
        (
            json!({"address": "hub", "channel": "ns", "serviceAccountName": "x"}),
            &[("token", &b"jwt"[..])],
            "invalid authentication options: serviceAccountName and jwt token authentication cannot be set at the same time",
        ),
        // NC-AZUREEVENTHUB-001
        (
            json!({}),
            &[],
            "invalid authentication options: endpoint URL cannot be empty",
        ),
        (
            json!({"address": key.replace(";EntityPath=hub", "")}),
            &[],
            "failed to create a eventhub using SAS: the connection string has no EntityPath",
        ),
    ] {
        assert_eq!(refusal("azureeventhub", &spec, secret).await, error);
    }
}
