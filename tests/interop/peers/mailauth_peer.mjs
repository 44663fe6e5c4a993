// mailauth as a peer: reads one JSON task a line from standard input, answers with one JSON line each.
// Octets travel as Latin-1 text. Run with NODE_PATH's folder as its first argument.
import { createRequire } from 'node:module';
import readline from 'node:readline';

const require = createRequire(process.argv[2] + '/');
const { authenticate, sealMessage } = require('mailauth');
const { dkimSign } = require('mailauth/lib/dkim/sign');
const { dkimVerify } = require('mailauth/lib/dkim/verify');
const { spf } = require('mailauth/lib/spf');

let zone = {};
const resolver = async (name, type) => {
    const found = (zone[name.toLowerCase()] || {})[type];
    if (!found) {
        const error = new Error(`${name} ${type}`);
        error.code = name.toLowerCase() in zone ? 'ENODATA' : 'ENOTFOUND';
        throw error;
    }
    return found;
};

const verbs = {
    async zone(task) {
        zone = task.zone;
        return null;
    },
    async verify(task) {
        const result = await dkimVerify(Buffer.from(task.message, 'latin1'), { resolver, curTime: new Date(task.now * 1000) });
        return result.results.map(one => one.status.result);
    },
    async sign(task) {
        const [header, body] = task.canonicalization;
        const result = await dkimSign(Buffer.from(task.message, 'latin1'), {
            canonicalization: `${header}/${body}`,
            signTime: new Date(task.now * 1000),
            signatureData: [{ signingDomain: task.domain, selector: task.selector, privateKey: task.key, algorithm: task.algorithm, canonicalization: `${header}/${body}` }]
        });
        if (result.errors.length) throw result.errors[0].err;
        return result.signatures;
    },
    async authenticate(task) {
        const result = await authenticate(Buffer.from(task.message, 'latin1'), {
            ip: task.ip, helo: task.helo, sender: task.mail_from, mta: 'mx.test', resolver, disableBimi: true, curTime: new Date(task.now * 1000)
        });
        return {
            spf: result.spf && result.spf.status.result,
            dkim: result.dkim.results.map(one => one.status.result),
            arc: result.arc && result.arc.status && result.arc.status.result,
            dmarc: result.dmarc && result.dmarc.status && result.dmarc.status.result
        };
    },
    async seal(task) {
        return (await sealMessage(Buffer.from(task.message, 'latin1'), {
            signingDomain: task.domain, selector: task.selector, privateKey: task.key,
            authResults: task.results, cv: task.cv
        })).toString('latin1');
    },
    async spf(task) {
        const result = await spf({ ip: task.ip, helo: task.helo, sender: task.mail_from, mta: 'mx.test', resolver });
        return result.status.result;
    }
};

// Runs another task many times, answers with the CPU microseconds of each.
verbs.time = async task => {
    await verbs[task.task.verb](task.task);
    const begin = process.cpuUsage();
    for (let i = 0; i < task.times; i++) await verbs[task.task.verb](task.task);
    const used = process.cpuUsage(begin);
    return (used.user + used.system) / task.times;
};

for await (const line of readline.createInterface({ input: process.stdin })) {
    const task = JSON.parse(line);
    let answer;
    try {
        answer = await verbs[task.verb](task);
    } catch (error) {
        answer = `error: ${error.message}`;
    }
    process.stdout.write(JSON.stringify(answer === undefined ? null : answer) + '\n');
}
