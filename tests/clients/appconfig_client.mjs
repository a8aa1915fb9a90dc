// The unmodified client of AWS AppConfig's data plane for JavaScript: one session, two polls, one bad token.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_CLIENTS + "/package.json");
const sdk = require("@aws-sdk/client-appconfigdata");

const client = new sdk.AppConfigDataClient({ region: "eu-west-1" });
const opened = await client.send(
  new sdk.StartConfigurationSessionCommand({
    ApplicationIdentifier: "javascript",
    EnvironmentIdentifier: "prod",
    ConfigurationProfileIdentifier: "model-selection",
  }),
);
const poll = async (ConfigurationToken) => {
  const answer = await client.send(new sdk.GetLatestConfigurationCommand({ ConfigurationToken }));
  return { ...answer, text: answer.Configuration?.transformToString() ?? "" };
};
const first = await poll(opened.InitialConfigurationToken);
const second = await poll(first.NextPollConfigurationToken);
const refused = await poll("not-a-token").catch((error) => error.name);
console.log(
  JSON.stringify({ first: first.text, label: first.VersionLabel, second: second.text, refused }),
);
