import { ADDRESS, DATA_FOLDER, type Properties } from './kafka-broker.ts'

/** The properties of a broker that is its own controller (KRaft), on loopback ports, and that announces `advertisedPort` to clients. */
export function propertiesOf(port: number, advertisedPort: number, controllerPort: number): Properties {
  return {
    'process.roles': 'broker,controller',
    'node.id': 1,
    'controller.quorum.voters': `1@${ADDRESS}:${controllerPort}`,
    listeners: `PLAINTEXT://${ADDRESS}:${port},CONTROLLER://${ADDRESS}:${controllerPort}`,
    'advertised.listeners': `PLAINTEXT://${ADDRESS}:${advertisedPort}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': DATA_FOLDER,
    'auto.create.topics.enable': false,
    // There is one broker, and each partition costs files and time at its start.
    'offsets.topic.num.partitions': 1,
    'offsets.topic.replication.factor': 1,
    'transaction.state.log.num.partitions': 1,
    'transaction.state.log.replication.factor': 1,
    'transaction.state.log.min.isr': 1,
    'share.coordinator.state.topic.num.partitions': 1,
    'share.coordinator.state.topic.replication.factor': 1,
    'share.coordinator.state.topic.min.isr': 1,
    'group.initial.rebalance.delay.ms': 0,
    // Lets a test's consumers have shorter sessions than 6 s, the default minimum.
    'group.min.session.timeout.ms': 1_000,
    // A broker that restarts after a kill must wait until its earlier session has expired.
    'broker.session.timeout.ms': 1_500,
    'broker.heartbeat.interval.ms': 300,
    // By default, two records a second tell other controllers how far behind they are. They cost an idle broker a third of its time, and there are none.
    'metadata.max.idle.interval.ms': 0,
    // This buffer is filled with zeros at the start. The default of 128 MB holds the keys of millions of records.
    'log.cleaner.dedupe.buffer.size': 4 * 1024 * 1024,
  }
}

export const aclProperties: Properties = {
  'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
  'allow.everyone.if.no.acl.found': true,
}
