// Beside it: micro sidecar        (this app registers itself; npm install express ws)
import express from 'express'
import WebSocket from 'ws'

const SIDECAR = process.env.SIDECAR ?? '127.0.0.1:8081'
const PORT = Number(process.env.PORT ?? 9090)
const node = { id: 'greeter-express-1', address: '127.0.0.1', port: PORT, metadata: { protocol: 'http' } }
const service = { name: 'greeter', nodes: [node] }

async function sidecar(method, path, body) {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const answer = await fetch(`http://${SIDECAR}${path}`, { method, body: text, headers: { 'Content-Type': 'application/json' } })
  if (!answer.ok) throw new Error((await answer.json()).detail)
  return answer
}

const app = express()
app.use(express.json())
app.post('/Say/Hello', async (request, response) => { // what others call as Say.Hello
  const msg = `Hello ${request.body.name}`
  await sidecar('POST', '/broker?topic=greetings', msg) // publish
  response.json({ msg })
})
app.post('/Say/Ask', async (request, response) => { // calls a service, itself as it happens
  const call = { service: 'greeter', method: 'Say.Hello', request: request.body }
  response.json(await (await sidecar('POST', '/rpc', call)).json())
})

function listen() {
  const topic = new WebSocket(`ws://${SIDECAR}/broker?topic=greetings&format=text`)
  topic.on('message', (message) => console.log('heard:', message.toString()))
  topic.on('error', (error) => console.log('not subscribed:', error.message))
  topic.on('close', () => setTimeout(listen, 1000))
}

const stayRegistered = () => // vanishes 30 s after we stop renewing, should we crash
  sidecar('POST', '/registry?ttl=30s', service).catch((error) => console.log('not registered:', error.message))

const server = app.listen(PORT, '127.0.0.1', () => {
  stayRegistered()
  const renewal = setInterval(stayRegistered, 10_000)
  listen()
  process.on('SIGTERM', async () => {
    clearInterval(renewal)
    await sidecar('DELETE', '/registry', service) // first, so that nobody calls us any more
    server.close(() => process.exit(0)) // finishes what is under way
    setTimeout(() => process.exit(0), 5000).unref()
    server.closeIdleConnections()
  })
})
