//! The published test suite of Signature Version 4 (`aws-signing-test-suite/v4`), each case with the signature in a
//! header and in the query.

use std::time::Duration;

use flux_http::Secret;
use reqwest::Method;

use super::*;

const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
const OTHER_TOKEN: &str = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
const UNRESERVED: &str = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

fn credentials(token: &str) -> Credentials {
    Credentials {
        access_key_id: "AKIDEXAMPLE".to_owned(),
        secret_access_key: Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: (!token.is_empty()).then(|| Secret::from(token)),
        expires: None,
    }
}

/// 2015-08-30T12:36:00Z
fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160)
}

const SCOPE: Scope<'_> = Scope {
    region: "us-east-1",
    service: "service",
    time: SystemTime::UNIX_EPOCH,
};

struct Case {
    name: &'static str,
    method: &'static str,
    target: String,
    headers: &'static [(&'static str, &'static str)],
    token: &'static str,
    body: &'static str,
    header: &'static str,
    query: &'static str,
}

fn get(name: &'static str, target: &str, header: &'static str, query: &'static str) -> Case {
    Case {
        name,
        method: "GET",
        target: target.to_owned(),
        headers: &[],
        token: "",
        body: "",
        header,
        query,
    }
}

fn post(name: &'static str, target: &str, header: &'static str, query: &'static str) -> Case {
    Case {
        method: "POST",
        ..get(name, target, header, query)
    }
}

const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
const VANILLA_QUERY: &str = "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d";

fn cases() -> Vec<Case> {
    vec![
        get("get-vanilla", "/", VANILLA, VANILLA_QUERY),
        get("get-slash-normalized", "//", VANILLA, VANILLA_QUERY),
        get(
            "get-slash-dot-slash-normalized",
            "/./",
            VANILLA,
            VANILLA_QUERY,
        ),
        get(
            "get-relative-normalized",
            "/example/..",
            VANILLA,
            VANILLA_QUERY,
        ),
        get(
            "get-relative-relative-normalized",
            "/example1/example2/../..",
            VANILLA,
            VANILLA_QUERY,
        ),
        get(
            "get-slash-pointless-dot-normalized",
            "/./example",
            "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
            "35034b1a0bdd969f346975386daf8aedfd4976573b8348cf4f67eaa41c5857de",
        ),
        get(
            "get-slashes-normalized",
            "//example//",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            "c1834e8fb0307243711f0f907f6ab7311ed300d87f13792d7ee4da89ab93e082",
        ),
        get(
            "get-unreserved",
            &format!("/{UNRESERVED}"),
            "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005",
        ),
        get(
            "get-vanilla-empty-query-key",
            "/?Param1=value1",
            "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
            "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de",
        ),
        get(
            "get-vanilla-query-order-encoded",
            "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
            "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
            "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787",
        ),
        get(
            "get-vanilla-query-order-key-case",
            "/?Param2=value2&Param1=value1",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5",
        ),
        get(
            "get-vanilla-query-unreserved",
            &format!("/?{UNRESERVED}={UNRESERVED}"),
            "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf",
        ),
        get(
            "get-vanilla-utf8-query",
            "/?ሴ=bar",
            "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600",
        ),
        Case {
            headers: &[
                ("My-Header1", "value2"),
                ("My-Header1", "value2"),
                ("My-Header1", "value1"),
            ],
            ..get(
                "get-header-key-duplicate",
                "/",
                "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
                "3349ee0b81b4b589da0ff28a395c3591e04de515651dd74f298fa992d1507a97",
            )
        },
        Case {
            headers: &[
                ("My-Header1", "value4"),
                ("My-Header1", "value1"),
                ("My-Header1", "value3"),
                ("My-Header1", "value2"),
            ],
            ..get(
                "get-header-value-order",
                "/",
                "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
                "313720e71ca6202fdcfa9b20f88de01a4eb0638a83c833b1c184359a4eda864e",
            )
        },
        Case {
            headers: &[("My-Header1", " value1"), ("My-Header2", " \"a   b   c\"")],
            ..get(
                "get-header-value-trim",
                "/",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
                "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4",
            )
        },
        Case {
            token: OTHER_TOKEN,
            ..get(
                "get-vanilla-with-session-token",
                "/",
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
                "7ff2b50b376cb4d151970630573d6291dc128cc5c2a12ffb237f73cc53f67b6c",
            )
        },
        post(
            "post-vanilla",
            "/",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b",
        ),
        Case {
            headers: &[("My-Header1", "value1")],
            ..post(
                "post-header-key-sort",
                "/",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
                "c09d07e0d55871f10f2a6d350d994acf6825a3cae70673d7def55616e6119dd7",
            )
        },
        Case {
            headers: &[("My-Header1", "VALUE1")],
            ..post(
                "post-header-value-case",
                "/",
                "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
                "0698bc9e4f7f9139065ba2909c0e99da257e8e2a42492a097bcd46d792391fed",
            )
        },
        Case {
            token: TOKEN,
            ..post(
                "post-sts-header-before",
                "/",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
                "46c2e3c63c1dbe7d39f8ada16fe7f001c1f56c5791441565323677f96308871c",
            )
        },
        post(
            "post-vanilla-query",
            "/?Param1=value1",
            "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682",
        ),
        Case {
            headers: &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Content-Length", "13"),
            ],
            body: "Param1=value1",
            ..post(
                "post-x-www-form-urlencoded",
                "/",
                "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
                "",
            )
        },
        Case {
            headers: &[
                (
                    "Content-Type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                ),
                ("Content-Length", "13"),
            ],
            body: "Param1=value1",
            ..post(
                "post-x-www-form-urlencoded-parameters",
                "/",
                "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
                "",
            )
        },
    ]
}

fn request(case: &Case) -> Request {
    let method = Method::from_bytes(case.method.as_bytes()).unwrap();
    let url = format!("https://example.amazonaws.com{}", case.target);
    let mut request = Request::new(method, url.parse().unwrap());
    for (name, value) in case.headers {
        let name: HeaderName = name.parse().unwrap();
        request.headers_mut().append(name, value.parse().unwrap());
    }
    if !case.body.is_empty() {
        let hash = Payload::Bytes(case.body.as_bytes()).hash();
        let headers = request.headers_mut();
        headers.insert("x-amz-content-sha256", hash.parse().unwrap());
    }
    request
}

#[test]
fn signatures_are_those_of_the_published_test_suite() {
    let scope = Scope {
        time: time(),
        ..SCOPE
    };
    for case in cases() {
        let credentials = credentials(case.token);
        let mut signed = request(&case);
        let payload = Payload::Bytes(case.body.as_bytes());
        sign(&mut signed, &credentials, &scope, payload).unwrap();
        let authorization = signed.headers()["authorization"].to_str().unwrap();
        let (head, signature) = authorization.split_once("Signature=").unwrap();
        assert_eq!(signature, case.header, "{}", case.name);
        let credential = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=";
        assert!(head.starts_with(credential), "{head}");
        assert_eq!(signed.headers()["x-amz-date"], "20150830T123600Z");

        if case.query.is_empty() {
            continue;
        }
        let plain = request(&case);
        let url = presign(
            case.method,
            plain.url(),
            plain.headers(),
            &credentials,
            &scope,
            Duration::from_hours(1),
            payload,
        );
        let url = url.unwrap();
        let signature = url.query_pairs().find(|(key, _)| key == "X-Amz-Signature");
        assert_eq!(signature.unwrap().1, case.query, "{}", case.name);
    }
}

#[test]
fn paths_are_encoded_once_for_s3_and_again_for_others() {
    // get-utf8, get-space-normalized and the unnormalized cases of the suite have the path of one encoding.
    for (path, s3, others) in [
        ("/%E1%88%B4", "/%E1%88%B4", "/%25E1%2588%25B4"),
        (
            "/example%20space/",
            "/example%20space/",
            "/example%2520space/",
        ),
        ("//example//", "//example//", "/example/"),
        ("/a(b)+c=d", "/a%28b%29%2Bc%3Dd", "/a%28b%29%2Bc%3Dd"),
        ("", "", "/"),
    ] {
        assert_eq!(canonical_path(path, S3), s3);
        assert_eq!(canonical_path(path, "kms"), others);
    }
}

#[test]
fn requests_to_s3_name_the_hash_of_their_body() {
    let scope = Scope {
        service: "s3",
        time: time(),
        ..SCOPE
    };
    for (payload, hash) in [
        (
            Payload::Bytes(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (Payload::Unsigned, "UNSIGNED-PAYLOAD"),
    ] {
        let mut request = request(&cases()[0]);
        sign(&mut request, &credentials(""), &scope, payload).unwrap();
        assert_eq!(request.headers()["x-amz-content-sha256"], hash);
        let authorization = request.headers()["authorization"].to_str().unwrap();
        let names = "SignedHeaders=host;x-amz-content-sha256;x-amz-date,";
        assert!(authorization.contains(names), "{authorization}");
    }
}

#[test]
fn what_libraries_and_proxies_change_is_not_signed() {
    let url = "http://127.0.0.1:9000/bucket".parse().unwrap();
    let mut request = Request::new(Method::GET, url);
    for (name, value) in [("user-agent", "flux"), ("authorization", "before")] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let scope = Scope {
        time: time(),
        ..SCOPE
    };
    sign(&mut request, &credentials(""), &scope, Payload::Bytes(b"")).unwrap();
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains("SignedHeaders=host;x-amz-date,"));
    let headers = SignedHeaders::of(&HeaderMap::new(), &host(request.url()).unwrap());
    assert_eq!(headers.lines, "host:127.0.0.1:9000\n");
}

#[test]
fn credentials_that_no_header_can_have_are_refused_and_not_shown() {
    let mut request = request(&cases()[0]);
    let scope = Scope {
        time: time(),
        ..SCOPE
    };
    let refused = sign(
        &mut request,
        &credentials("to\nken"),
        &scope,
        Payload::Bytes(b""),
    );
    let text = format!("{refused:?} {}", refused.as_ref().unwrap_err());
    assert!(matches!(refused, Err(SignError::Credentials)) && !text.contains("ken"));
    let shown = format!("{:?}", credentials("token"));
    assert!(
        !shown.contains("wJalr") && !shown.contains("token\""),
        "{shown}"
    );
}
