"""Unmodified clients of AWS AppConfig against a real server: boto3, the AWS CLI, Powertools for Python."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from shutil import which

import pytest
from aws import Gateway, client, events
from botocore.exceptions import ClientError


def refused(call, code: str, **members) -> dict:
    with pytest.raises(ClientError) as caught:
        call()
    response = caught.value.response
    assert response["Error"]["Code"] == code, response
    for name, value in members.items():
        assert response[name] == value, response
    return response


@pytest.fixture(scope="module")
def gateway(ensign):
    return Gateway(ensign, "model-gateway")


def test_the_lifecycle_of_every_resource(ensign):
    control = client(ensign, "appconfig")
    names = [app["Name"] for app in control.list_applications()["Items"]]
    assert "default" in names, "Ensign's own projects are applications"
    app = control.create_application(Name="Life cycle/é", Description="all of it", Tags={"team": "ml"})["Id"]
    assert control.get_application(ApplicationId=app)["Name"] == "Life cycle/é"
    refused(lambda: control.create_application(Name="Life cycle/é"), "BadRequestException")
    assert control.update_application(ApplicationId=app, Description="")["Name"] == "Life cycle/é"
    assert "Description" not in control.get_application(ApplicationId=app)
    arn = f"arn:aws:appconfig:eu-west-1:000000000000:application/{app}"
    control.tag_resource(ResourceArn=arn, Tags={"cost center": "7", "x": "y"})
    control.untag_resource(ResourceArn=arn, TagKeys=["team", "x"])
    assert control.list_tags_for_resource(ResourceArn=arn)["Tags"] == {"cost center": "7"}

    env = control.create_environment(ApplicationId=app, Name="prod")
    assert env["State"] == "READY_FOR_DEPLOYMENT"
    env = env["Id"]
    alarm = {"AlarmArn": "arn:aws:cloudwatch:x:0:alarm:a", "AlarmRoleArn": "arn:aws:iam::000000000000:role/R"}
    assert control.update_environment(ApplicationId=app, EnvironmentId=env, Monitors=[alarm])["Monitors"] == [alarm]

    schema = json.dumps({"type": "object", "required": ["model"]})
    profile = control.create_configuration_profile(
        ApplicationId=app,
        Name="models",
        LocationUri="hosted",
        Validators=[{"Type": "JSON_SCHEMA", "Content": schema}],
    )
    assert profile["Type"] == "AWS.Freeform"
    profile = profile["Id"]
    summary = control.list_configuration_profiles(ApplicationId=app)["Items"][0]
    assert summary["ValidatorTypes"] == ["JSON_SCHEMA"]
    refused(
        lambda: control.create_configuration_profile(ApplicationId=app, Name="s3", LocationUri="s3://b/k"),
        "BadRequestException",
    )

    def version(content: bytes, **more):
        return control.create_hosted_configuration_version(
            ApplicationId=app, ConfigurationProfileId=profile, Content=content, ContentType="application/json", **more
        )

    first = version(b'{"model": "a"}', VersionLabel="v1", Description="café   one")
    assert (first["VersionNumber"], first["Content"].read()) == (1, b'{"model": "a"}')
    assert version(b'{"model": "b"}', LatestVersionNumber=1)["VersionNumber"] == 2
    refused(lambda: version(b'{"model": "c"}', LatestVersionNumber=1), "ConflictException")
    refused(lambda: version(b'{"model": "c"}', VersionLabel="7"), "BadRequestException")
    wrong = refused(lambda: version(b'{"x": 1}'), "BadRequestException", Reason="InvalidConfiguration")
    assert wrong["Details"]["InvalidConfiguration"][0]["Constraint"] == "required"
    refused(lambda: version(b"x" * 2_200_000), "PayloadTooLargeException", Measure="KILOBYTES")
    control.validate_configuration(ApplicationId=app, ConfigurationProfileId=profile, ConfigurationVersion="2")
    listed = control.list_hosted_configuration_versions(ApplicationId=app, ConfigurationProfileId=profile)["Items"]
    assert [item["VersionNumber"] for item in listed] == [2, 1]
    only = control.list_hosted_configuration_versions(
        ApplicationId=app, ConfigurationProfileId=profile, VersionLabel="v*"
    )["Items"]
    assert [item["VersionLabel"] for item in only] == ["v1"]

    # A number is never used twice, also after the newest version was deleted.
    control.delete_hosted_configuration_version(ApplicationId=app, ConfigurationProfileId=profile, VersionNumber=2)
    assert version(b'{"model": "d"}')["VersionNumber"] == 3

    strategies = [item for page in control.get_paginator("list_deployment_strategies").paginate() for item in page["Items"]]
    assert "AppConfig.Canary10Percent20Minutes" in [item["Id"] for item in strategies]
    own = control.create_deployment_strategy(Name="own", DeploymentDurationInMinutes=5, GrowthFactor=20)
    assert (own["GrowthType"], own["FinalBakeTimeInMinutes"], own["GrowthFactor"]) == ("LINEAR", 0, 20.0)
    assert control.update_deployment_strategy(DeploymentStrategyId=own["Id"], GrowthFactor=50)["GrowthFactor"] == 50
    control.delete_deployment_strategy(DeploymentStrategyId=own["Id"])
    refused(lambda: control.get_deployment_strategy(DeploymentStrategyId=own["Id"]), "ResourceNotFoundException")
    refused(
        lambda: control.delete_deployment_strategy(DeploymentStrategyId="AppConfig.AllAtOnce"), "BadRequestException"
    )

    settings = control.update_account_settings(DeletionProtection={"Enabled": True, "ProtectionPeriodInMinutes": 15})
    assert settings["DeletionProtection"] == {"Enabled": True, "ProtectionPeriodInMinutes": 15}
    control.update_account_settings(DeletionProtection={"Enabled": False})
    refused(lambda: control.list_extensions(), "BadRequestException")

    refused(lambda: control.delete_configuration_profile(ApplicationId=app, ConfigurationProfileId=profile), "BadRequestException")
    for number in (1, 3):
        control.delete_hosted_configuration_version(
            ApplicationId=app, ConfigurationProfileId=profile, VersionNumber=number
        )
    refused(lambda: control.delete_application(ApplicationId=app), "BadRequestException")
    control.delete_configuration_profile(ApplicationId=app, ConfigurationProfileId=profile)
    control.delete_environment(ApplicationId=app, EnvironmentId=env)
    control.delete_application(ApplicationId=app)
    refused(lambda: control.get_application(ApplicationId=app), "ResourceNotFoundException")


def test_two_hundred_sessions_follow_the_timetable_and_none_goes_back_and_forth(gateway):
    """A linear strategy of 10 % per step, shortened to a step each six seconds."""
    at_once = gateway.strategy(0, 100)
    first = gateway.start("v1.0.0", at_once)
    assert (first["State"], first["PercentageComplete"]) == ("COMPLETE", 100.0)
    sessions = [gateway.session() for _ in range(200)]
    for session in sessions:
        answer = session.poll()
        assert (answer["VersionLabel"], answer["ContentType"]) == ("v1.0.0", "application/json")
        assert answer["NextPollIntervalInSeconds"] == 60
    assert sessions[0].poll()["Body"] == b""
    started = gateway.start("v2.0.0", gateway.strategy(1, 10, bake=1))
    assert (started["State"], started["PercentageComplete"]) == ("DEPLOYING", 0.0)
    number = started["DeploymentNumber"]
    refused(lambda: gateway.start("v2.0.0", at_once), "ConflictException")
    looked = set()
    while True:
        before = gateway.deployment(number)
        for session in sessions:
            session.poll()
        after = gateway.deployment(number)
        percent = after["PercentageComplete"]
        due = (time.time() - after["StartedAt"].timestamp()) / 60 * 100
        # While the next step is being taken, sessions may be ahead of what the deployment says.
        if before["PercentageComplete"] == percent and (due < percent + 10 or percent == 100):
            share = sum(session.model == "summarizer-v2" for session in sessions) / 200
            sigma = math.sqrt(percent / 100 * (1 - percent / 100) / 200)
            assert abs(share - percent / 100) <= 4 * sigma + 1e-9, (share, percent)
            assert percent <= due + 1 or percent == 100, (percent, due)
            looked.add(percent)
        if after["State"] != "DEPLOYING":
            break
        time.sleep(1)
    assert after["State"] == "BAKING" and len(looked) >= 7, looked
    for session in sessions:
        session.poll()
        assert session.seen == ["summarizer-v1", "summarizer-v2"]
    steps = [event for event in after["EventLog"] if event["EventType"] == "PERCENTAGE_UPDATED"]
    assert len(steps) == 10
    for n, event in enumerate(reversed(steps), 1):
        late = event["OccurredAt"].timestamp() - after["StartedAt"].timestamp() - 6 * n
        assert abs(late) < 0.01, "a step is dated with the moment it was due"
    # Both sides can steer it: the rollout is there for Ensign's own tools too.
    shown = gateway.ensign.cli("why", "model-selection", "--project", "model-gateway", "--environment", "prod")
    assert "v2.0.0" in shown.stdout


def test_a_stop_takes_back_and_a_revert_brings_back_what_was_before(gateway):
    newest = gateway.control.list_deployments(ApplicationId=gateway.app, EnvironmentId=gateway.env)["Items"][0]
    session = gateway.session()
    session.poll()
    assert session.model == "summarizer-v2"
    stopped = gateway.stop(newest["DeploymentNumber"])
    assert stopped["State"] == "ROLLED_BACK" and events(stopped)[-2:] == ["ROLLBACK_STARTED", "ROLLBACK_COMPLETED"]
    session.poll()
    assert session.model == "summarizer-v1"
    env = gateway.control.get_environment(ApplicationId=gateway.app, EnvironmentId=gateway.env)
    assert env["State"] == "ROLLED_BACK"
    refused(lambda: gateway.stop(newest["DeploymentNumber"], AllowRevert=True), "BadRequestException")
    done = gateway.start("2", gateway.strategy(0, 50))
    assert done["State"] == "COMPLETE"
    session.poll()
    refused(lambda: gateway.stop(done["DeploymentNumber"]), "BadRequestException")
    reverted = gateway.stop(done["DeploymentNumber"], AllowRevert=True)
    assert (reverted["State"], reverted["EventLog"][0]["EventType"]) == ("REVERTED", "REVERT_COMPLETED")
    session.poll()
    assert session.seen == ["summarizer-v2", "summarizer-v1", "summarizer-v2", "summarizer-v1"]
    # A kill from Ensign's side reaches the sessions, and its end too.
    where = ("--project", "model-gateway", "--environment", "prod")
    gateway.ensign.cli("kill", "model-selection", "--to", "v2.0.0", "--reason", "drill", *where)
    session.poll()
    assert session.model == "summarizer-v2"
    gateway.ensign.cli("restore", "model-selection", *where)
    session.poll()
    assert session.model == "summarizer-v1"


def test_tokens_may_be_repeated_and_intervals_hold_where_they_were_asked_for(ensign):
    gateway = Gateway(ensign, "tokens")
    gateway.start("1", gateway.strategy(0, 100))
    session = gateway.session()
    first, again = (gateway.data.get_latest_configuration(ConfigurationToken=session.token) for _ in range(2))
    assert first["Configuration"].read() == again["Configuration"].read() != b""
    problem = {"ConfigurationToken": {"Problem": "Corrupted"}}
    refused(
        lambda: gateway.data.get_latest_configuration(ConfigurationToken=session.token[:-1] + "!"),
        "BadRequestException",
        Reason="InvalidParameters",
        Details={"InvalidParameters": problem},
    )
    patient = gateway.session(RequiredMinimumPollIntervalInSeconds=15)
    assert patient.poll()["NextPollIntervalInSeconds"] == 15
    problem = {"ConfigurationToken": {"Problem": "PollIntervalNotSatisfied"}}
    refused(patient.poll, "BadRequestException", Details={"InvalidParameters": problem})
    missing = refused(
        lambda: gateway.data.start_configuration_session(
            ApplicationIdentifier="tokens",
            EnvironmentIdentifier="prod",
            ConfigurationProfileIdentifier="nope",
        ),
        "ResourceNotFoundException",
        ResourceType="ConfigurationProfile",
    )
    assert missing["ReferencedBy"] == {"ConfigurationProfileIdentifier": "nope"}


def test_an_environments_key_reads_and_changes_nothing(ensign):
    control = client(ensign, "appconfig")
    default = next(app for app in control.list_applications()["Items"] if app["Name"] == "default")["Id"]
    profile = control.create_configuration_profile(ApplicationId=default, Name="shared", LocationUri="hosted")["Id"]
    control.create_hosted_configuration_version(
        ApplicationId=default, ConfigurationProfileId=profile, Content=b"a: 1", ContentType="application/x-yaml"
    )
    env = next(
        item for item in control.list_environments(ApplicationId=default)["Items"] if item["Name"] == "production"
    )["Id"]
    control.start_deployment(
        ApplicationId=default,
        EnvironmentId=env,
        ConfigurationProfileId=profile,
        ConfigurationVersion="1",
        DeploymentStrategyId="AppConfig.AllAtOnce",
    )
    pair = ensign.environment("production")
    names = dict(ApplicationIdentifier="default", ConfigurationProfileIdentifier="shared")
    for prefix in ("", "/appconfig", "/appconfig/"):
        data = client(ensign, "appconfigdata", pair, prefix)
        token = data.start_configuration_session(EnvironmentIdentifier="production", **names)
        answer = data.get_latest_configuration(ConfigurationToken=token["InitialConfigurationToken"])
        assert answer["Configuration"].read() == b"a: 1"
        assert answer["ContentType"] == "application/x-yaml" and "VersionLabel" not in answer
    refused(
        lambda: data.start_configuration_session(EnvironmentIdentifier="staging", **names), "AccessDeniedException"
    )
    weak = client(ensign, "appconfig", pair)
    refused(weak.list_applications, "AccessDeniedException")
    refused(lambda: weak.create_application(Name="mine"), "AccessDeniedException")
    wrong = {**pair, "aws_secret_access_key": "x" * 40}
    refused(client(ensign, "appconfig", wrong).list_applications, "InvalidSignatureException")
    unknown = {**pair, "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE"}
    refused(client(ensign, "appconfig", unknown).list_applications, "UnrecognizedClientException")
    # A new pair takes the place of the one before.
    _, fresh = ensign.request("POST", "/api/v1/projects/default/environments/production/aws-keys", {})
    again = client(ensign, "appconfigdata", fresh)
    assert again.start_configuration_session(EnvironmentIdentifier="production", **names)
    refused(
        lambda: data.start_configuration_session(EnvironmentIdentifier="production", **names),
        "UnrecognizedClientException",
    )
    # The way before sessions: the client names itself.
    old = control.get_configuration(
        Application="default", Environment="production", Configuration="shared", ClientId="host-1"
    )
    assert (old["Content"].read(), old["ConfigurationVersion"]) == (b"a: 1", "1")


FLAGS = {
    "version": "1",
    "flags": {
        "new_ranker": {
            "name": "New ranker",
            "attributes": {"model": {"constraints": {"type": "string", "required": True}}},
        },
        "ui_refresh": {"name": "UI", "attributes": {"dark": {"constraints": {"type": "boolean"}}}},
        "off": {"name": "Off", "attributes": {"secret": {"constraints": {"type": "string"}}}},
    },
    "values": {
        "new_ranker": {"enabled": True, "model": "ranker-v3"},
        "off": {"enabled": False, "secret": "withheld"},
    },
}

VARIANTS = {
    "_variants": [
        {
            "name": "QA",
            "enabled": True,
            "rule": '(and (ends_with $email "@qa.example.org") (eq $beta true))',
            "attributeValues": {"dark": True},
        },
        {"name": "Default", "enabled": False},
    ]
}


def deployed_flags(ensign, name: str, document: dict) -> Gateway:
    gateway = Gateway(ensign, name)
    gateway.profile = gateway.control.create_configuration_profile(
        ApplicationId=gateway.app, Name="Features", LocationUri="hosted", Type="AWS.AppConfig.FeatureFlags"
    )["Id"]
    gateway.control.create_hosted_configuration_version(
        ApplicationId=gateway.app,
        ConfigurationProfileId=gateway.profile,
        Content=json.dumps(document).encode(),
        ContentType="application/json",
    )
    gateway.start("1", gateway.strategy(0, 100))
    return gateway


def test_feature_flags_are_checked_served_and_evaluated(ensign):
    gateway = deployed_flags(ensign, "flags", FLAGS)
    session = gateway.data.start_configuration_session(
        ApplicationIdentifier="flags", EnvironmentIdentifier="prod", ConfigurationProfileIdentifier="Features"
    )
    served = gateway.data.get_latest_configuration(ConfigurationToken=session["InitialConfigurationToken"])
    assert json.loads(served["Configuration"].read()) == {
        "new_ranker": {"enabled": True, "model": "ranker-v3"},
        "off": {"enabled": False},
    }
    # Each flag is one of Ensign's too: killed alone, it changes alone, and comes back.
    where = ("--project", "flags", "--environment", "prod")
    ensign.cli("kill", "Features.new_ranker", "--to", "nothing deployed", *where)
    token = served["NextPollConfigurationToken"]
    killed = gateway.data.get_latest_configuration(ConfigurationToken=token)
    assert json.loads(killed["Configuration"].read()) == {"off": {"enabled": False}}
    ensign.cli("restore", "Features.new_ranker", *where)
    restored = gateway.data.get_latest_configuration(ConfigurationToken=killed["NextPollConfigurationToken"])
    assert json.loads(restored["Configuration"].read())["new_ranker"] == {"enabled": True, "model": "ranker-v3"}
    bad = {**FLAGS, "values": {"new_ranker": {"enabled": True}}}
    wrong = refused(
        lambda: gateway.control.create_hosted_configuration_version(
            ApplicationId=gateway.app,
            ConfigurationProfileId=gateway.profile,
            Content=json.dumps(bad).encode(),
            ContentType="application/json",
        ),
        "BadRequestException",
        Reason="InvalidConfiguration",
    )
    assert wrong["Details"]["InvalidConfiguration"][0]["Location"] == "/values/new_ranker"


def run_agent(ensign, *args: str):
    env = {**os.environ, "ENSIGN_URL": ensign.url, "ENSIGN_TOKEN": ensign.credentials["admin_token"]}
    agent = subprocess.Popen(
        [ensign.binary, "agent", "--listen", "127.0.0.1:0", *args], env=env, stdout=subprocess.PIPE, text=True
    )
    return agent, agent.stdout.readline().strip().rsplit(":", 1)[1]


POWERTOOLS_AGENT = """
import json, sys
from aws_lambda_powertools.utilities.parameters import AppConfigExtensionProvider
import urllib.request
port = sys.argv[1]
provider = AppConfigExtensionProvider(environment="prod", application="agents", port=int(port))
def get(query, headers):
    url = f"http://localhost:{port}/applications/agents/environments/prod/configurations/Features{query}"
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read()), answer.headers["Configuration-Version"]
print(json.dumps([
    get("?flag=ui_refresh", {"Context": "email=jo@qa.example.org, beta=true", "Entity-Id": "user123"}),
    get("?flag=ui_refresh", {}),
    get("?flag=new_ranker&flag=off", {}),
    provider.get("Features", transform="json", flag=["new_ranker", "off"], force_fetch=True),
    provider.get("Features", transform="json", force_fetch=True),
]))
"""


def test_the_agent_evaluates_variants_and_answers_while_the_server_is_away(ensign, tmp_path):
    document = {**FLAGS, "values": {**FLAGS["values"], "ui_refresh": VARIANTS}}
    gateway = deployed_flags(ensign, "agents", document)
    session = gateway.data.start_configuration_session(
        ApplicationIdentifier="agents", EnvironmentIdentifier="prod", ConfigurationProfileIdentifier="Features"
    )
    ion = gateway.data.get_latest_configuration(ConfigurationToken=session["InitialConfigurationToken"])
    assert ion["ContentType"] == "application/ion; type=AWS.AppConfig.FeatureFlags"
    assert b"'ui_refresh'::[" in ion["Configuration"].read()
    agent, port = run_agent(ensign, "--backup", str(tmp_path / "backup"))
    two = {"new_ranker": {"enabled": True, "model": "ranker-v3"}, "off": {"enabled": False}}
    default = {"_variant": "Default", "enabled": False}
    expected = [
        [{"_variant": "QA", "enabled": True, "dark": True}, "1"],
        [default, "1"],
        [two, "1"],
        two,
        {**two, "ui_refresh": default},
    ]

    def ask(port):
        done = subprocess.run(
            [sys.executable, "-c", POWERTOOLS_AGENT, port], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    try:
        assert ask(port) == expected
    finally:
        agent.terminate()
        agent.wait(timeout=30)
    # Another agent, with the same backup and no server.
    away = type(ensign)("http://127.0.0.1:9", ensign.data, ensign.credentials, ensign.binary)
    agent, port = run_agent(away, "--backup", str(tmp_path / "backup"))
    try:
        assert ask(port) == expected
    finally:
        agent.terminate()
        agent.wait(timeout=30)


POWERTOOLS = """
import json
from aws_lambda_powertools.utilities.feature_flags import AppConfigStore, FeatureFlags
from aws_lambda_powertools.utilities.parameters import AppConfigProvider
provider = AppConfigProvider(environment="prod", application="powertools")
first = provider.get("model-selection", transform="json", force_fetch=True)
second = provider.get("model-selection", transform="json", force_fetch=True)
store = AppConfigStore(environment="prod", application="powertools", name="rules")
flags = FeatureFlags(store=store)
print(json.dumps([
    first, second,
    flags.evaluate(name="premium", context={"tier": "premium"}, default=False),
    flags.evaluate(name="premium", context={"tier": "basic"}, default=True),
]))
"""

RULES = {
    "premium": {
        "default": False,
        "rules": {
            "premium tier": {
                "when_match": True,
                "conditions": [{"action": "EQUALS", "key": "tier", "value": "premium"}],
            }
        },
    }
}


def aws_environment(ensign) -> dict:
    pair = ensign.credentials["projects"]["default"]
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": ensign.url,
        "AWS_ACCESS_KEY_ID": pair["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": pair["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "POWERTOOLS_SERVICE_NAME": "test",
    }


def test_powertools_reads_documents_and_its_own_feature_flags(ensign):
    gateway = Gateway(ensign, "powertools")
    gateway.start("1", gateway.strategy(0, 100))
    rules = gateway.control.create_configuration_profile(ApplicationId=gateway.app, Name="rules", LocationUri="hosted")
    gateway.control.create_hosted_configuration_version(
        ApplicationId=gateway.app,
        ConfigurationProfileId=rules["Id"],
        Content=json.dumps(RULES).encode(),
        ContentType="application/json",
    )
    gateway.profile = rules["Id"]
    gateway.start("1", gateway.strategy(0, 50))
    done = subprocess.run(
        [sys.executable, "-c", POWERTOOLS], env=aws_environment(ensign), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    model = {"model": "summarizer-v1"}
    assert json.loads(done.stdout) == [model, model, True, False]


def test_the_command_line_client_goes_through_the_lifecycle(ensign, tmp_path):
    cli = Path(sys.executable).with_name("aws")

    def aws(*args: str, fails: bool = False):
        done = subprocess.run(
            [sys.executable, str(cli), *args, "--output", "json"],
            env=aws_environment(ensign),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stderr if fails else json.loads(done.stdout or "null")

    app = aws("appconfig", "create-application", "--name", "by-cli")["Id"]
    env = aws("appconfig", "create-environment", "--application-id", app, "--name", "prod")["Id"]
    of = ("--application-id", app)
    made = aws("appconfig", "create-configuration-profile", *of, "--name", "doc", "--location-uri", "hosted")
    document = tmp_path / "document.json"
    document.write_text('{"model": "x"}')
    profile = ("--configuration-profile-id", made["Id"])
    stored = aws(
        "appconfig", "create-hosted-configuration-version", *of, *profile, "--content", f"fileb://{document}",
        "--content-type", "application/json", "--version-label", "rc-1", str(tmp_path / "stored.json"),
    )
    assert (stored["VersionNumber"], (tmp_path / "stored.json").read_text()) == (1, '{"model": "x"}')
    place = (*of, "--environment-id", env)
    started = aws(
        "appconfig", "start-deployment", *place, *profile, "--configuration-version", "rc-1",
        "--deployment-strategy-id", "AppConfig.AllAtOnce",
    )
    assert started["State"] == "BAKING"
    token = aws(
        "appconfigdata", "start-configuration-session", "--application-identifier", "by-cli",
        "--environment-identifier", "prod", "--configuration-profile-identifier", "doc",
    )["InitialConfigurationToken"]
    answer = aws(
        "appconfigdata", "get-latest-configuration", "--configuration-token", token, str(tmp_path / "got.json")
    )
    assert (answer["VersionLabel"], (tmp_path / "got.json").read_text()) == ("rc-1", '{"model": "x"}')
    stopped = aws("appconfig", "stop-deployment", *place, "--deployment-number", "1", "--allow-revert")
    assert stopped["State"] == "ROLLED_BACK"
    assert "ConflictException" not in aws("appconfig", "get-application", "--application-id", "zzzz", fails=True)


def test_alertmanagers_webhook_takes_a_deployment_back(ensign, tmp_path):
    gateway = Gateway(ensign, "alarmed", monitors=["ModelErrors"])
    gateway.start("1", gateway.strategy(0, 100))
    session = gateway.session()
    session.poll()
    number = gateway.start("2", gateway.strategy(0, 100, bake=30))["DeploymentNumber"]
    session.poll()
    assert session.model == "summarizer-v2"
    path = "/api/v1/projects/alarmed/environments/prod/alarms/alertmanager"
    manager = send_alert(ensign, path, tmp_path)
    try:
        deadline = time.time() + 90
        while (back := gateway.deployment(number))["State"] == "BAKING" and time.time() < deadline:
            time.sleep(0.5)
    finally:
        if manager:
            manager.terminate()
            manager.wait(timeout=30)
    assert back["State"] == "ROLLED_BACK", back
    started = next(event for event in back["EventLog"] if event["EventType"] == "ROLLBACK_STARTED")
    assert started["TriggeredBy"] == "CLOUDWATCH_ALARM"
    assert "alarm:ModelErrors" in started["Description"] and "5 % of answers" in started["Description"]
    session.poll()
    assert session.seen == ["summarizer-v1", "summarizer-v2", "summarizer-v1"]
    refused(lambda: gateway.start("2", "AppConfig.AllAtOnce"), "BadRequestException")
    where = ("--project", "alarmed", "--environment", "prod")
    assert "ModelErrors" in ensign.cli("why", "model-selection", *where).stdout
    # An address that nobody has allowed is not asked, whatever a message says.
    confirmation = {"Type": "SubscriptionConfirmation", "SubscribeURL": "http://127.0.0.1:9/confirm"}
    with pytest.raises(Exception) as refusal:
        ensign.request("POST", path.replace("alertmanager", "sns"), confirmation)
    assert refusal.value.code == 403


def send_alert(ensign, path: str, folder: Path):
    """From a real Alertmanager where the machine has one, else as one sends it. Returns the one it started."""
    alert = {"labels": {"alertname": "ModelErrors", "severity": "page"}, "annotations": {"summary": "5 % of answers fail"}}
    program = which("prometheus-alertmanager") or which("alertmanager")
    if program is None:
        body = {
            "receiver": "ensign", "status": "firing", "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0,
            "groupLabels": {}, "commonLabels": alert["labels"], "commonAnnotations": alert["annotations"],
            "externalURL": "http://localhost:9093",
            "alerts": [{**alert, "status": "firing", "startsAt": "2026-01-15T12:00:00Z",
                        "endsAt": "0001-01-01T00:00:00Z", "generatorURL": "", "fingerprint": "c6eadffa33fcdf37"}],
        }
        ensign.request("POST", path, body)
        return None
    settings = folder / "alertmanager.yml"
    settings.write_text(
        "route: {receiver: ensign, group_wait: 1s}\n"
        "receivers:\n- name: ensign\n  webhook_configs:\n"
        f"  - url: {ensign.url}{path}\n"
        f"    http_config: {{authorization: {{credentials: {ensign.credentials['admin_token']}}}}}\n"
    )
    server = subprocess.Popen(
        [program, f"--config.file={settings}", f"--storage.path={folder}/alerts",
         "--web.listen-address=127.0.0.1:19093", "--cluster.listen-address="],
        stderr=subprocess.DEVNULL,
    )
    request = urllib.request.Request(
        "http://127.0.0.1:19093/api/v2/alerts", data=json.dumps([alert]).encode(),
        headers={"Content-Type": "application/json"},
    )
    for _ in range(100):
        try:
            urllib.request.urlopen(request, timeout=5).read()
            break
        except OSError:
            time.sleep(0.1)
    return server


def test_a_guardrail_takes_a_deployment_back_with_numbers(ensign):
    """One percent of the answers of the old configuration fail and five of the new one's; nobody does anything."""
    gateway = Gateway(ensign, "guarded", monitors=["error_rate<=1.5x"])
    where = "/api/v1/projects/guarded/environments/prod"
    ensign.request("POST", f"{where}/apply", {"files": [{"name": "u", "text": json.dumps(
        {"use_case": "answers", "flags": ["model-selection"], "request_timeout": "1s"})}]})
    gateway.start("v1.0.0", gateway.strategy(0, 100))
    sessions = [gateway.session() for _ in range(20)]
    for session in sessions:
        session.poll()
    number = gateway.start("v2.0.0", gateway.strategy(2, 50))["DeploymentNumber"]
    deadline = time.time() + 150
    sent = 0
    while (state := gateway.deployment(number))["State"] == "DEPLOYING" and time.time() < deadline:
        batch = []
        for label, errors in (("v1.0.0", 1), ("v2.0.0", 5)):
            if label == "v2.0.0" and state["PercentageComplete"] == 0:
                continue
            for n in range(250):
                sent += 1
                batch.append({
                    "type": "request", "id": f"e{sent}", "request": f"r{sent}", "time": int(time.time() * 1000),
                    "duration_ms": 20, "status": "upstream_error" if n % 100 < errors else "ok",
                    "unit": f"worker-{sent}",
                    "decisions": [{"flag": "model-selection", "variant": label}],
                })
        status, answer = ensign.request("POST", "/api/v1/events?project=guarded&environment=prod", batch)
        assert status == 200 and answer.get("refused", 0) == 0, answer
        time.sleep(0.5)
    assert state["State"] == "ROLLED_BACK", state
    started = next(event for event in state["EventLog"] if event["EventType"] == "ROLLBACK_STARTED")
    assert "error rate" in started["Description"] and "weighted evidence" in started["Description"], started
    for session in sessions:
        session.poll()
        assert session.model == "summarizer-v1"
    why = ensign.cli("why", "model-selection", "--project", "guarded", "--environment", "prod").stdout
    assert "error rate" in why and "1.5×" in why, why


def test_a_killed_server_goes_on_with_the_timetable_and_its_tokens(tmp_path):
    """SIGKILL in the middle of a deployment, on a data folder of its own."""
    from conftest import launch

    server, ensign = launch(tmp_path)
    try:
        gateway = Gateway(ensign, "killed")
        gateway.start("1", gateway.strategy(0, 100))
        sessions = [gateway.session() for _ in range(40)]
        for session in sessions:
            session.poll()
        number = gateway.start("2", gateway.strategy(1, 25))["DeploymentNumber"]
        while gateway.deployment(number)["PercentageComplete"] < 25:
            time.sleep(0.5)
        for session in sessions:
            session.poll()
        early = {at for at, session in enumerate(sessions) if session.model == "summarizer-v2"}
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=30)
        server, _ = launch(tmp_path, ensign.url.rsplit(":", 1)[1])
        for session in sessions:
            session.poll()
        late = {at for at, session in enumerate(sessions) if session.model == "summarizer-v2"}
        assert early <= late
        assert gateway.deployment(number)["State"] == "DEPLOYING"
        while (state := gateway.deployment(number))["State"] == "DEPLOYING":
            time.sleep(0.5)
        assert state["State"] in ("BAKING", "COMPLETE")
        took = state["EventLog"][0]["OccurredAt"].timestamp() - state["StartedAt"].timestamp()
        assert 59.9 < took < 60.1, took
        for session in sessions:
            session.poll()
            assert session.seen == ["summarizer-v1", "summarizer-v2"]
    finally:
        server.kill()
        server.wait(timeout=30)


def test_the_javascript_client_reads_a_configuration(ensign):
    folder = os.environ.get("ENSIGN_NODE_CLIENTS")
    if not folder:
        pytest.skip("not run: no Node.js here")
    gateway = Gateway(ensign, "javascript")
    gateway.start("1", gateway.strategy(0, 100))
    script = Path(__file__).with_name("appconfig_client.mjs")
    done = subprocess.run(
        ["node", str(script)], env={**aws_environment(ensign), "NODE_CLIENTS": folder}, capture_output=True, text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer == {"first": '{"model": "summarizer-v1"}', "label": "v1.0.0", "second": "", "refused": "BadRequestException"}
