"""What the tests of AWS AppConfig's clients share: clients, resources, polls."""

import json

import boto3
from botocore.config import Config


def client(ensign, service: str, pair: dict | None = None, prefix: str = ""):
    """An unmodified client that differs from one of AWS by endpoint and credentials only."""
    pair = pair or ensign.credentials["projects"]["default"]
    return boto3.client(
        service,
        endpoint_url=ensign.url + prefix,
        region_name="eu-west-1",
        aws_access_key_id=pair["aws_access_key_id"],
        aws_secret_access_key=pair["aws_secret_access_key"],
        config=Config(retries={"mode": "standard"}),
    )


class Gateway:
    """An application with an environment, a freeform profile with two versions, and strategies of its own."""

    def __init__(self, ensign, name: str, monitors=()):
        self.ensign = ensign
        self.control = client(ensign, "appconfig")
        self.data = client(ensign, "appconfigdata")
        self.name = name
        self.app = self.control.create_application(Name=name)["Id"]
        arns = [{"AlarmArn": f"arn:aws:cloudwatch:eu-west-1:000000000000:alarm:{alarm}"} for alarm in monitors]
        self.env = self.control.create_environment(ApplicationId=self.app, Name="prod", Monitors=arns)["Id"]
        self.profile = self.control.create_configuration_profile(
            ApplicationId=self.app, Name="model-selection", LocationUri="hosted"
        )["Id"]
        for n in (1, 2):
            self.version(f"v{n}.0.0", {"model": f"summarizer-v{n}"})

    def version(self, label: str, document: dict) -> int:
        made = self.control.create_hosted_configuration_version(
            ApplicationId=self.app,
            ConfigurationProfileId=self.profile,
            Content=json.dumps(document).encode(),
            ContentType="application/json",
            VersionLabel=label,
        )
        return made["VersionNumber"]

    def strategy(self, minutes: int, factor: float = 10, bake: int = 0, growth: str = "LINEAR") -> str:
        made = self.control.create_deployment_strategy(
            Name=f"{self.name}-{minutes}-{factor}-{bake}-{growth}",
            DeploymentDurationInMinutes=minutes,
            GrowthFactor=factor,
            GrowthType=growth,
            FinalBakeTimeInMinutes=bake,
        )
        return made["Id"]

    def start(self, version: str, strategy: str) -> dict:
        return self.control.start_deployment(
            ApplicationId=self.app,
            EnvironmentId=self.env,
            ConfigurationProfileId=self.profile,
            ConfigurationVersion=version,
            DeploymentStrategyId=strategy,
        )

    def deployment(self, number: int) -> dict:
        return self.control.get_deployment(ApplicationId=self.app, EnvironmentId=self.env, DeploymentNumber=number)

    def stop(self, number: int, **more) -> dict:
        return self.control.stop_deployment(
            ApplicationId=self.app, EnvironmentId=self.env, DeploymentNumber=number, **more
        )

    def session(self, **more) -> "Session":
        return Session(self.data, self.app, self.env, self.profile, **more)


class Session:
    """One configuration session, and every version it was ever given."""

    def __init__(self, data, app, env, profile, **more):
        self.data = data
        self.seen = []
        opened = data.start_configuration_session(
            ApplicationIdentifier=app,
            EnvironmentIdentifier=env,
            ConfigurationProfileIdentifier=profile,
            **more,
        )
        self.token = opened["InitialConfigurationToken"]

    def poll(self) -> dict:
        answer = self.data.get_latest_configuration(ConfigurationToken=self.token)
        assert answer["NextPollConfigurationToken"] != self.token
        self.token = answer["NextPollConfigurationToken"]
        body = answer["Configuration"].read()
        if body:
            self.seen.append(json.loads(body)["model"])
        answer["Body"] = body
        return answer

    @property
    def model(self) -> str:
        return self.seen[-1]


def events(deployment: dict) -> list[str]:
    """The kinds of a deployment's events, oldest first."""
    return [event["EventType"] for event in reversed(deployment["EventLog"])]
