// A real OpenID Connect issuer (oidc-provider) on loopback: client_credentials, JWT access tokens signed with
// ES256 or RS256 by the resource that is asked for; and people who log in with any password, for the public
// client `console`. Takes a port or chooses one, and prints its URL;
// `POST /test/rotate` exchanges all keys while it runs. Ends with its standard input.
import { createServer } from 'node:http';
import { generateKeyPairSync, randomUUID } from 'node:crypto';
import Provider from 'oidc-provider';

const RESOURCES = { 'urn:test:gateway:es256': 'ES256', 'urn:test:gateway:rs256': 'RS256' };
const GROUPS = { sam: ['sre', 'staff'], riley: ['staff'] };
// A native client: any port of the loopback address will do (RFC 8252 section 7.3).
const CONSOLE = {
  client_id: 'console', application_type: 'native', token_endpoint_auth_method: 'none',
  redirect_uris: ['http://127.0.0.1/auth/callback'], response_types: ['code'],
  grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
};
const CONFIDENTIAL = {
  ...CONSOLE, client_id: 'console-2', client_secret: 'console-secret:+/', token_endpoint_auth_method: 'client_secret_basic',
};
const CLIENT = { client_id: 'agent', client_secret: 'agent-secret' };

// A fresh key of each kind, as private JWKs.
function keys() {
  const pairs = [
    ['ES256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['RS256', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ];
  return pairs.map(([alg, { privateKey }]) =>
    ({ ...privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: randomUUID() }));
}

function provider(issuer) {
  return new Provider(issuer, {
    jwks: { keys: keys() },
    clients: [{
      ...CLIENT, grant_types: ['client_credentials'], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: 'ES256',
    }, CONSOLE, CONFIDENTIAL],
    claims: { openid: ['sub'], groups: ['groups'] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, groups: GROUPS[id] ?? [] }) }),
    cookies: { keys: [randomUUID()] },
    ttl: { ClientCredentials: 600 },
    extraTokenClaims: () => ({ groups: ['agents'], purpose: 'tests' }),
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      devInteractions: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_, resource) => {
          const alg = RESOURCES[resource];
          return { scope: '', audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
        },
      },
    },
  });
}

// Nobody reads its standard output behind the first line.
console.info = console.error;
const server = createServer();
server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', () => {
  const issuer = `http://127.0.0.1:${server.address().port}`;
  let handle = provider(issuer).callback();
  server.on('request', (request, response) => {
    if (request.method === 'POST' && request.url === '/test/rotate') {
      handle = provider(issuer).callback();
      response.writeHead(204).end();
    } else {
      handle(request, response);
    }
  });
  console.log(issuer);
});
process.stdin.resume().on('end', () => process.exit(0));
