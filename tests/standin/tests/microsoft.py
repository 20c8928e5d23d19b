"""Microsoft's own client libraries against the stand-in: what they send it must take, by the rules that omsd is held to.

Run by microsoft.rs beside this file, which says in the environment where everything is. Prints a line for each step that went well.
"""

import os

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CertificateCredential, ClientSecretCredential, ManagedIdentityCredential
from azure.monitor.ingestion import LogsIngestionClient

url, ca = os.environ["STANDIN_URL"], os.environ["STANDIN_CA"]
tenant, client, rule = os.environ["STANDIN_TENANT"], os.environ["STANDIN_CLIENT"], os.environ["STANDIN_RULE"]
stream = "Custom-HostPerf"

verified = {"connection_verify": ca}
of_application = {"authority": url, "disable_instance_discovery": True, **verified}


def row(number, text="x"):
    return {
        "TimeGenerated": "2026-11-22T20:00:00.000Z",
        "Computer": "web01",
        "ObjectName": text,
        "CounterName": "counter",
        "InstanceName": "",
        "CounterValue": number,
    }


def send(credential, rows, to=stream):
    with LogsIngestionClient(url, credential, **verified) as ingestion:
        ingestion.upload(rule_id=rule, stream_name=to, logs=rows)


def refused(step, kind, action):
    try:
        action()
    except kind as error:
        print("refused", step, getattr(error, "status_code", None), flush=True)
    else:
        print("taken, but should not be:", step, flush=True)


secret = ClientSecretCredential(tenant, client, os.environ["STANDIN_SECRET"], **of_application)
send(secret, [row(1)])
print("ok secret", flush=True)
certificate = CertificateCredential(tenant, client, certificate_path=os.environ["STANDIN_PEM"], **of_application)
send(certificate, [row(2)])
print("ok certificate", flush=True)
send(ManagedIdentityCredential(), [row(3)])
print("ok managed identity", flush=True)
send(secret, [row(number, "y" * 1000) for number in range(3000)])
print("ok many", flush=True)

wrong = ClientSecretCredential(tenant, client, "not the secret", **of_application)
refused("secret", ClientAuthenticationError, lambda: send(wrong, [row(4)]))
refused("stream", HttpResponseError, lambda: send(secret, [row(4)], "Custom-Unknown"))
refused("column", HttpResponseError, lambda: send(secret, [{**row(4), "Unknown": 1}]))
refused("type", HttpResponseError, lambda: send(secret, [{**row(4), "CounterValue": "one"}]))
